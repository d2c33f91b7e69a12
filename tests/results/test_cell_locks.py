from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metabench.results.cell_locks import CellLocks

CELL, OTHER = Path("suite/a/default.json"), Path("suite/b/default.json")
HOLD = """
import sys
from pathlib import Path
from metabench.results.cell_locks import CellLocks
claims = CellLocks(Path(sys.argv[1]))
print(claims.take(Path(sys.argv[2])), flush=True)
sys.stdin.read()
"""


@contextmanager
def held(root: Path, cell: Path) -> Iterator[subprocess.Popen[str]]:
    """A cell that another process has claimed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), str(cell)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_cell_is_claimed_by_one_process_at_a_time(tmp_path: Path) -> None:
    claims = CellLocks(tmp_path)
    with held(tmp_path, CELL):
        assert not claims.take(CELL)
        assert claims.take(OTHER)


def test_a_killed_process_gives_its_claims_up(tmp_path: Path) -> None:
    with held(tmp_path, CELL) as process:
        process.kill()
        process.wait()
        assert CellLocks(tmp_path).take(CELL)


def test_a_released_claim_can_be_taken(tmp_path: Path) -> None:
    claims = CellLocks(tmp_path)
    assert claims.take(CELL)
    claims.release(CELL)
    with held(tmp_path, CELL):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="locks belong to processes elsewhere")
def test_runs_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    one, other = CellLocks(tmp_path), CellLocks(tmp_path)
    assert one.take(CELL)
    assert not other.take(CELL)
    other.close()  # which must not release what the first one holds
    third = CellLocks(tmp_path)
    assert not third.take(CELL)
    one.release(CELL)
    assert third.take(CELL)


def test_without_locks_every_claim_is_granted(tmp_path: Path, monkeypatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    claims = CellLocks(tmp_path)
    monkeypatch.setattr(fcntl, "fcntl" if sys.platform == "linux" else "lockf", refuse)
    assert claims.take(CELL)
    claims.release(CELL)


def test_a_folder_that_a_group_shares_has_a_lock_for_the_group(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        CellLocks(tmp_path).close()
    finally:
        os.umask(before)
    (file,) = tmp_path.rglob("*.lock")
    assert file.stat().st_mode & 0o777 == 0o664
