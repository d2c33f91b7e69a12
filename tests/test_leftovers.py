"""Temporary files that killed processes left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.leftovers import others, remove_leftovers, temporary_name


def left_by_a_dead_process(folder: Path, name: str) -> Path:
    """A temporary file of a process that was killed while writing."""
    code = f"from metabench.leftovers import temporary_name as n; print(n({name!r}))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    file = folder / made.stdout.strip()
    file.write_bytes(b"half")
    return file


def test_what_a_dead_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = left_by_a_dead_process(tmp_path, "result.json")
    ours = tmp_path / temporary_name("result.json")
    elsewhere = tmp_path / ".result.json.another-machine-1-2-0123abcd.tmp"
    other = tmp_path / "result.json.tmp"
    for file in (ours, elsewhere, other):
        file.write_bytes(b"")
    remove_leftovers(tmp_path.iterdir())
    assert sorted(tmp_path.iterdir()) == sorted([ours, elsewhere, other])
    assert not dead.exists()
    assert others(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc says when one began")
def test_a_number_that_a_new_process_has_got_is_no_excuse(tmp_path: Path) -> None:
    host, pid, started = temporary_name("x").split(".")[2].rsplit("-", 3)[:3]
    assert int(pid) == os.getpid()
    earlier = tmp_path / f".x.{host}-{os.getppid()}-{int(started) + 1}-0123abcd.tmp"
    earlier.touch()
    assert others([earlier]) == []
    remove_leftovers([earlier])
    assert not earlier.exists()


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="there are no containers")
def test_a_container_does_not_know_the_processes_of_another(tmp_path: Path) -> None:
    dead = left_by_a_dead_process(tmp_path, "result.json")
    namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    elsewhere = dead.rename(dead.with_name(dead.name.replace(namespace, namespace + "0")))
    remove_leftovers([elsewhere])
    assert elsewhere.exists()


def test_what_belongs_to_another_user_stays(tmp_path: Path, monkeypatch) -> None:
    dead = left_by_a_dead_process(tmp_path, "result.json")

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    remove_leftovers([dead])
    assert dead.exists()


def test_a_folder_is_removed_with_what_is_in_it(tmp_path: Path) -> None:
    dead = left_by_a_dead_process(tmp_path, "cache")
    dead.unlink()
    dead.mkdir()
    (dead / "images.npy").write_bytes(b"half")
    remove_leftovers(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
