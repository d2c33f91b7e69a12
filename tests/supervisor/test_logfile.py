from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from metabench.supervisor.logfile import HALF, BoundedLog


def printed(file: Path, *parts: bytes) -> BoundedLog:
    pipe, end = os.pipe()
    log = BoundedLog(file, pipe)
    for part in parts:
        for at in range(0, len(part), 2**16):
            os.write(end, part[at : at + 2**16])
    os.close(end)
    log.close(10)
    return log


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    log = printed(tmp_path / "logs" / "a.log", b"one\n", b"two\n")
    assert (tmp_path / "logs" / "a.log").read_bytes() == b"one\ntwo\n"
    assert log.tail(4) == "two\n"


def test_of_a_long_log_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    printed(file, b"first line\n", b"x" * 300 * 2**20, b"last words\n")
    content = file.read_bytes()
    assert content.startswith(b"first line\n")
    assert content.endswith(b"last words\n")
    assert len(content) < 2 * HALF + 2**17 + 100
    left_out = int(content.split(b"[... ")[1].split(b" bytes")[0].replace(b",", b""))
    note = len(f"\n[... {left_out:,} bytes left out ...]\n")
    assert len(content) - note + left_out == 300 * 2**20 + 22


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_lies_in_the_place_of_a_log_is_replaced_and_not_written_to(
    kind: str, tmp_path: Path
) -> None:
    precious, file = tmp_path / "precious", tmp_path / "a.log"
    precious.write_text("keys")
    if kind == "link":
        file.symlink_to(precious)
    else:
        os.mkfifo(file)
    printed(file, b"one\n")
    assert (file.read_bytes(), precious.read_text()) == (b"one\n", "keys")


def test_a_pipe_that_nobody_can_read_is_closed(tmp_path: Path, monkeypatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pipe, end = os.pipe()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BlockingIOError, match="can't start new thread"):
        BoundedLog(tmp_path / "a.log", pipe)
    with pytest.raises(BrokenPipeError):  # a writer would wait for ever
        os.write(end, b"x")
    os.close(end)


def test_a_log_that_cannot_be_written_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    pipe, end = os.pipe()
    log = BoundedLog(file, pipe)
    file.unlink()
    (tmp_path / "a.log").mkdir()
    for _ in range(100):
        os.write(end, b"x" * 2**16)
    os.close(end)
    log.close(10)
    assert log.tail(10) == ""
