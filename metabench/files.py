"""Files written whole or not at all, and read only if they are regular and of bounded size."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

from metabench.leftovers import temporary_name

MOST = 256 << 20  # bytes that are read of a file whose content is kept in memory
_MAX_FILES, _MAX_BYTES = 10_000, 1 << 30  # of a folder, that count in its digest
MAX_CHECKPOINT = 16 << 30  # bytes
_ROOM = 1 << 20  # bytes that must be free in a folder before work for it begins
_MAX_NAME = 200  # characters; systems allow 255 bytes, and endings such as ".json" follow
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


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
    if link := link_in_path(file, root):
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
    if len(name) > _MAX_NAME:
        return f"it has {len(name):,} characters, write at most {_MAX_NAME}"
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


def link_in_path(path: Path, root: Path) -> Path | None:
    """Return the link among a path and the folders between it and `root`; None if there is none.

    Writing or removing through a link would affect a file outside `root`.
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
    Of a large folder, the files beyond `_MAX_FILES` do not count, and those beyond `_MAX_BYTES`
    count by their size.

    Raises:
        OSError: a file or a folder in it cannot be read.
    """
    digest, files, room = hashlib.sha256(), 0, _MAX_BYTES
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
            if files > _MAX_FILES:
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
