"""One file over HTTP: with a timeout, resumed, and compared with its checksum."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from io import BufferedRandom
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from metabench.errors import DataError, reason

TIMEOUT = 30.0  # seconds to connect, and between two pieces of an answer
_PIECE = 1 << 16


def fetch(url: str, file: Path, md5: str) -> None:
    """Download a file, which appears when it is complete and has the right checksum.

    A download that ends early leaves what it has received in `.<name>.part` if the server can
    continue from there. The next one does so, and leaves one such file at most.

    Raises:
        DataError: it cannot be downloaded; the message is the URL and the reason.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        with _opened(part) as stream:
            if not file.exists():  # otherwise another process has just downloaded it
                _fill(stream, url, md5)
                part.replace(file)
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(f"{url}: {_reason(error)}") from error


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BufferedRandom]:
    """Open a partial file, one process at a time; remove it at the end if it is empty."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        stream = os.fdopen(os.open(part, flags, 0o666), "r+b")
        with stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # such as a device
                raise OSError(errno.EINVAL, "this is not a regular file", str(part))
            with contextlib.suppress(OSError):  # there are file systems without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            if not _is_at(stream, part):
                continue  # the process that held the lock has renamed or removed it
            try:
                yield stream
            finally:
                if _is_at(stream, part) and not os.fstat(stream.fileno()).st_size:
                    part.unlink()
            return


def _is_at(stream: BufferedRandom, part: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), part.stat())
    except FileNotFoundError:
        return False


def _fill(stream: BufferedRandom, url: str, md5: str) -> None:
    """Download what a partial file lacks; leave it empty if that is of no use for the next one."""
    if _md5(stream) == md5:
        return
    resumed = _receive(stream, url)
    if resumed and _md5(stream) != md5:  # it may have been the beginning of another version
        stream.truncate(0)
        _receive(stream, url)
    if _md5(stream) != md5:
        stream.truncate(0)
        raise OSError("its checksum is wrong")
    os.fsync(stream.fileno())


def _receive(stream: BufferedRandom, url: str) -> bool:
    """Append the rest of a file, or write all of it; return whether it was the rest."""
    size = stream.seek(0, os.SEEK_END)
    try:
        response = _asked(url, size)
    except HTTPError as error:
        if error.code != 416 or not size:
            raise
        response = _asked(url, 0)  # the partial file is not shorter than the file
    with response:
        resumed = response.status == 206
        if not resumed:
            stream.seek(0)
            stream.truncate()
        try:
            while piece := response.read1(_PIECE):
                stream.write(piece)
            if response.length:
                raise OSError(f"the connection closed with {response.length:,} bytes missing")
            stream.flush()
        except BaseException:
            stream.flush()
            if not resumed and response.headers["Accept-Ranges"] != "bytes":
                stream.truncate(0)
            raise
    return resumed


def _asked(url: str, start: int) -> HTTPResponse:
    headers = {"User-Agent": "metabench"}
    if start:
        headers["Range"] = f"bytes={start}-"
    answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    return answer


def _md5(stream: BufferedRandom) -> str:
    stream.seek(0)
    # Not for cryptography: it is what torchvision lists.
    return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no answer for {TIMEOUT:g} s"
    return reason(error).rstrip(": ")
