"""Files written whole or not at all, and the removal of those that killed processes left."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

MOST = 256 << 20  # bytes that are read of a file whose content is kept in memory
MAX_CHECKPOINT = 16 << 30  # bytes
_MOST_FILES, _MOST_BYTES = 10_000, 1 << 30  # of a folder, that count in its digest
_ROOM = 1 << 20  # bytes that must be free in a folder before work for it begins
_LONGEST = 80  # characters of the name that a temporary file is for
_LONGEST_NAME = 200  # characters; systems allow 255 bytes, and endings such as ".json" follow
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def temporary_name(name: str) -> str:
    """Return a new hidden name that identifies the process that makes the file."""
    pid = os.getpid()
    owner = f"{_host()}-{pid}-{_started(pid)}"
    return f".{name[:_LONGEST]}.{owner}-{secrets.token_hex(4)}.tmp"


def expanded(path: str | Path) -> Path:
    """Replace a leading `~`. As in shells, it stays if the user or the home folder is unknown."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises an error


def open_regular(file: Path) -> BufferedReader:
    """Open a regular file for reading.

    A pipe would wait for a writer, and a device may never end.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    stream = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "this is not a regular file", str(file))
    return stream


def open_checkpoint(file: Path, root: Path) -> BufferedReader:
    """Open a checkpoint, which may come from anyone, for reading.

    Raises:
        OSError: it cannot be read, is no regular file, is too large, or is reached through a link
            below `root`.
    """
    if link := link_on_the_way(file, root):
        raise OSError(errno.ELOOP, f"{link.name} is a link")
    stream = open_regular(file)
    if os.fstat(stream.fileno()).st_size > MAX_CHECKPOINT:
        stream.close()
        raise OSError(errno.EFBIG, f"it is larger than {MAX_CHECKPOINT >> 30} GiB")
    return stream


def name_problem(name: str, form: str, advice: str) -> str:
    """Return `advice` if a name has another form, and why some systems cannot store it; or ""."""
    if not re.fullmatch(form, name):
        return advice
    if len(name) > _LONGEST_NAME:
        return f"it has {len(name):,} characters, write at most {_LONGEST_NAME}"
    if name.endswith(".") or _DEVICE.fullmatch(name):
        return "not every system can store a file of this name, choose another"
    return ""


def read_file(file: Path, most: int = MOST) -> bytes:
    """Read a regular file of bounded size.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger than `most` bytes.
    """
    with open_regular(file) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(file))
    return content


def check_room(folder: Path) -> None:
    """Create a folder if it is missing, and check that it takes some data, which is removed again.

    On a full disk, an empty file can often still be made.

    Raises:
        OSError: it cannot be written to, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(os.urandom(_ROOM))  # zeros take no space if the file system compresses them
        stream.flush()
        os.fsync(stream.fileno())


def check_folder(folder: Path) -> None:
    """Check that files may be made in a folder, or that it can be created; nothing is changed.

    Raises:
        OSError: they may not, or something that is no folder is in the way.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def link_on_the_way(path: Path, root: Path) -> Path | None:
    """Return the link among a path and the folders between it and `root`; None if there is none.

    Through one, what is written or removed below `root` would be a file elsewhere.
    """
    for place in (path, *path.parents):
        if place == root:
            break
        if place.is_symlink():
            return place
    return None


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content, in hex, without holding all of it in memory.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_folder(folder: Path) -> str:
    """Return a SHA-256, in hex, of the names and contents of the files in a folder.

    Links are not followed and count by their text. Caches of Python and special files do not count.
    Of a large folder, the files beyond `_MOST_FILES` do not count, and those beyond `_MOST_BYTES`
    count by their size.

    Raises:
        OSError: a file or a folder in it cannot be read.
    """
    digest, files, room = hashlib.sha256(), 0, _MOST_BYTES
    for place, folders, names in os.walk(folder, onerror=_raise):
        for name in sorted([*folders, *names]):
            path = Path(place, name)
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                content = os.fsencode(path.readlink()).hex()
            elif stat.S_ISREG(found.st_mode):
                room -= found.st_size
                content = sha256(path) if room >= 0 else str(found.st_size)
            else:
                continue
            files += 1
            if files > _MOST_FILES:
                return digest.hexdigest()
            digest.update(repr((os.fsencode(path.relative_to(folder)), content)).encode())
        folders[:] = sorted({*folders} - {"__pycache__"})
    return digest.hexdigest()


def _raise(error: OSError) -> None:
    raise error


def write_atomically(file: Path, data: bytes) -> None:
    """Write a file so that readers see either the old one or the new one, even after a crash.

    Raises:
        OSError: it cannot be written; the old one stays as it is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(temporary_name(file.name))
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_output(file: Path, data: bytes) -> None:
    """Write a file that the user has named, which may also be a link, a pipe or a device.

    Only regular files can be replaced in one step. The target of a link is replaced, not the link.

    Raises:
        OSError: it cannot be written.
    """
    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        regular = True
    if not regular:
        with file.open("wb") as stream:
            stream.write(data)
    else:
        write_atomically(file.resolve() if file.is_symlink() else file, data)


def remove_leftovers(found: Iterable[Path]) -> None:
    """Remove those files and folders named by `temporary_name` whose process is gone.

    Processes of other machines are unknown here, so their files stay.
    """
    for path in found:
        owner = _made_by(path)
        if owner is None or _lives(*owner):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a file of another user
                path.unlink(missing_ok=True)


def others(found: Iterable[Path]) -> list[Path]:
    """List those files and folders named by `temporary_name` that other processes still use."""
    owners = [(path, _made_by(path)) for path in found]
    return [
        path
        for path, owner in owners
        if owner is not None and owner[0] != os.getpid() and _lives(*owner)
    ]


def _made_by(path: Path) -> tuple[int, int] | None:
    """Return the process of this machine that made a temporary file, and when it started."""
    match = re.fullmatch(r"\..*\.(.*)-(\d+)-(\d+)-[0-9a-f]{8}\.tmp", path.name)
    return (int(match[2]), int(match[3])) if match is not None and match[1] == _host() else None


def _started(pid: int) -> int:
    """Return when a process started, in ticks since the system did; 0 if that is unknown.

    Process numbers are reused, and soon after a restart of the system.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def _host() -> str:
    """Return a name of the machine, or of the container, because each numbers its processes."""
    host = re.sub(r"[^A-Za-z0-9-]", "_", platform.node()) or "here"
    try:
        return f"{host}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return host


def _lives(pid: int, started: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        pass
    return _started(pid) in (0, started)
