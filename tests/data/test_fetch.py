"""Downloads from a server that does what real ones do: stalls, breaks off, resumes or cannot."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Quiet, serving

from metabench.data import fetch as module
from metabench.data.fetch import fetch
from metabench.errors import DataError

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


class Server:
    """A server of one file."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True  # a part may be asked for
        self.sends = len(CONTENT)  # bytes of an answer
        self.stalls = threading.Event()  # keeps an answer open that is not sent whole, until set
        self.asked: list[str | None] = []  # the range of each request

    def handler(self) -> type[Quiet]:
        server = self

        class Handler(Quiet):
            def do_GET(self) -> None:  # noqa: N802 - the standard library's name
                wanted = self.headers["Range"]
                server.asked.append(wanted)
                start = int(wanted[6:-1]) if wanted and server.ranges else 0
                if start and start >= len(server.content):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(server.content) - start))
                if server.ranges:
                    self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                self.wfile.write(server.content[start : start + server.sends])
                self.wfile.flush()
                if server.sends < len(server.content) - start:
                    server.stalls.wait(60)

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    found.stalls.set()
    with serving(found.handler()) as found.address:
        yield found
        found.stalls.set()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.zip"


def names(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir())


def test_a_file_appears_when_it_is_right(server: Server, file: Path) -> None:
    fetch(server.address, file, MD5)
    assert file.read_bytes() == CONTENT
    assert names(file) == [file.name]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_stalled_server_is_one_line(server: Server, file: Path, ranges, monkeypatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    server.stalls.clear()
    server.sends, server.ranges = HALF, ranges
    with pytest.raises(DataError, match=rf"^{server.address}: no answer for 0\.2 s$"):
        fetch(server.address, file, MD5)
    assert names(file) == ([f".{file.name}.part"] if ranges else [])


def test_a_server_that_accepts_and_says_nothing_is_one_line(file: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    over = threading.Event()

    class Silent(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - the standard library's name
            over.wait(60)

    with serving(Silent) as address:
        with pytest.raises(DataError, match=r": no answer for 0\.2 s$"):
            fetch(address, file, MD5)
        over.set()
    assert names(file) == []


def test_a_download_that_broke_off_is_resumed(server: Server, file: Path) -> None:
    server.sends = HALF
    with pytest.raises(DataError, match=r"the connection closed with 128,000 bytes missing$"):
        fetch(server.address, file, MD5)
    server.sends = len(CONTENT)
    fetch(server.address, file, MD5)
    assert file.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={HALF}-"]
    assert names(file) == [file.name]


def test_a_server_without_ranges_sends_it_all_again(server: Server, file: Path) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(CONTENT[:HALF])
    server.ranges = False
    fetch(server.address, file, MD5)
    assert file.read_bytes() == CONTENT
    assert names(file) == [file.name]


@pytest.mark.parametrize("left", [b"another version", CONTENT + b"more", b"x" * len(CONTENT)])
def test_a_beginning_of_something_else_is_not_used(server: Server, file: Path, left) -> None:
    file.with_name(f".{file.name}.part").write_bytes(left)
    fetch(server.address, file, MD5)
    assert file.read_bytes() == CONTENT
    assert names(file) == [file.name]


def test_a_part_that_was_whole_is_taken_without_asking(server: Server, file: Path) -> None:
    file.with_name(f".{file.name}.part").write_bytes(CONTENT)
    fetch(server.address, file, MD5)
    assert file.read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("content", [CONTENT[:-1], b"<html>", b""])
def test_a_wrong_checksum_leaves_nothing(server: Server, file: Path, content) -> None:
    server.content = content
    with pytest.raises(DataError, match=rf"^{server.address}: its checksum is wrong"):
        fetch(server.address, file, MD5)
    assert names(file) == []


def test_a_server_that_is_gone_leaves_what_was_received(server: Server, file: Path) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(CONTENT[:HALF])
    with pytest.raises(DataError, match=r"^http://127\.0\.0\.1:9/x: Connection refused$"):
        fetch("http://127.0.0.1:9/x", file, MD5)
    assert part.read_bytes() == CONTENT[:HALF]


def test_a_download_in_a_killed_process_is_resumed(server: Server, file: Path) -> None:
    server.stalls.clear()
    server.sends = HALF
    part = file.with_name(f".{file.name}.part")
    code = "import sys, pathlib; from metabench.data.fetch import fetch\n"
    code += "fetch(sys.argv[1], pathlib.Path(sys.argv[2]), '')"
    process = subprocess.Popen([sys.executable, "-c", code, server.address, str(file)])
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None
        threading.Event().wait(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.stalls.set()
    received = part.stat().st_size
    server.sends = len(CONTENT)
    fetch(server.address, file, MD5)
    assert file.read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={received}-"
    assert names(file) == [file.name]


def test_two_downloads_of_one_file_share_the_work(server: Server, file: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server.address, file, MD5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes() == CONTENT
    assert server.asked == [None]
    assert names(file) == [file.name]


def test_nothing_is_written_through_a_link_or_into_a_pipe(server: Server, file: Path) -> None:
    part, victim = file.with_name(f".{file.name}.part"), file.with_name("victim")
    victim.write_text("mine")
    part.symlink_to(victim)
    with pytest.raises(DataError, match="symbolic links"):
        fetch(server.address, file, MD5)
    assert victim.read_text() == "mine"
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(DataError, match="not seekable"):
        fetch(server.address, file, MD5)
