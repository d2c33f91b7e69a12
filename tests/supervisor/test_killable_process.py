"""A killable process imports what this one would, and works in any surroundings."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metabench.supervisor.killable_process import KillableProcess

# Sends the file of a module, or the name of the exception.
_WHERE = """
import sys
try:
    import plug_here as found
except ImportError as error:
    found = error
from multiprocessing.connection import Connection
import random
Connection(int(sys.argv[1])).send_bytes(str([found, random]).encode())
"""


def answer(code: str = _WHERE) -> str:
    with closing(KillableProcess(code, grace=1)) as process:
        assert process.wait_for_message(60)
        return process.connection.recv_bytes().decode()


@pytest.fixture
def shadows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files of the same names as modules."""
    for name in ("plug_here", "random", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the working folder')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("shadows")
def test_the_working_folder_is_not_imported_from() -> None:
    assert "No module named 'plug_here'" in answer()


@pytest.mark.usefixtures("shadows")
def test_modules_come_from_where_this_process_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's \N{SNOWMAN}"
    folder.mkdir()
    (folder / "plug_here.py").write_text("")
    monkeypatch.syspath_prepend(folder)
    assert f"{folder / 'plug_here.py'}" in answer().replace("\\'", "'")


@pytest.fixture
def many_files(tmp_path: Path) -> Iterator[None]:
    """More open files than select() can watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(1100)]
    yield
    for file in opened:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_caller_may_have_many_open_files() -> None:
    assert "random" in answer()
    with closing(KillableProcess("import time; time.sleep(60)", grace=0.2)) as process:
        assert not process.wait_for_message(0.5)
        process.stop()
        assert process.ending() == "killed by SIGTERM"
    with closing(KillableProcess("pass", grace=1)) as process:
        process.wait_for_message(60)
        with pytest.raises(EOFError):  # no copy of the connection stays open
            process.connection.recv_bytes()


def test_a_message_of_absurd_length_is_refused() -> None:
    code = """
import os, struct, sys, time
os.write(int(sys.argv[1]), struct.pack("!iQ", -1, 1 << 50))
time.sleep(60)
"""
    with closing(KillableProcess(code, grace=0.2)) as process:
        assert process.wait_for_message(60)
        with pytest.raises(OSError, match="bad message length"):
            process.connection.recv_bytes()
        process.kill()


@pytest.mark.parametrize("start", ["-m", "-c"])
def test_processes_that_it_starts_import_nothing_from_the_working_folder(
    tmp_path: Path, start: str
) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong one')")
    code = f"""
import os, subprocess, sys
what = ["-m", "tempfile"] if "{start}" == "-m" else ["-c", "import random"]
done = subprocess.run([sys.executable, *what], capture_output=True, text=True)
from multiprocessing.connection import Connection
Connection(int(sys.argv[1])).send(done.stderr)
"""
    with closing(KillableProcess(code, grace=1, folder=tmp_path)) as process:
        assert process.wait_for_message(60)
        assert process.connection.recv() == ""
