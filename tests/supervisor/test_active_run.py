"""Runs that see each other."""

from __future__ import annotations

import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from metabench.supervisor import active_run
from metabench.supervisor.active_run import ActiveRun

OTHER = """
import sys
from metabench.supervisor import active_run
active_run._NAME = sys.argv[1]
run = active_run.ActiveRun()
print(run.alone(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch) -> None:
    """Runs of this test see only each other, whatever else the machine is doing."""
    monkeypatch.setattr(active_run, "_NAME", f"metabench-test-{secrets.token_hex(4)}")


def check_another_process_is_seen(run: ActiveRun, code: str) -> None:
    """Check that two runs see each other until the other one is killed."""
    other = subprocess.Popen(
        [sys.executable, "-c", code, active_run._NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "False\n"
    assert not run.alone()
    other.kill()
    other.communicate()
    assert run.alone()


def test_a_run_is_seen_by_another_process_until_it_is_killed() -> None:
    with closing(ActiveRun()) as run:
        assert run.alone()
        check_another_process_is_seen(run, OTHER)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are seen elsewhere, not threads")
def test_threads_of_one_process_see_each_other() -> None:
    with closing(ActiveRun()) as first, closing(ActiveRun()) as nested:
        assert first.alone()
        assert nested.alone()
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(ActiveRun).result()
            assert not first.alone()
            assert not other.alone()
            other.close()
        assert first.alone()


def test_without_a_list_of_sockets_a_run_counts_as_alone(monkeypatch) -> None:
    monkeypatch.setattr(active_run, "_SOCKETS", Path("/nonexistent"))
    with closing(ActiveRun()) as run:
        assert run.alone()


def test_without_sockets_a_file_is_seen_and_removed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(active_run, "_SHARED", tmp_path)
    code = f"import sys; sys.platform = 'darwin'; from pathlib import Path\n{OTHER}"
    code = code.replace("run =", f"active_run._SHARED = Path({str(tmp_path)!r})\nrun =")
    with closing(ActiveRun()) as run:
        check_another_process_is_seen(run, code)
    ActiveRun().close()
    assert list(tmp_path.iterdir()) == []
