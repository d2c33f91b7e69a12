"""The files that a dataset is made from: their content as one digest, and their state."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metabench.data.paths import unreadable
from metabench.files import sha256

_SECOND = 10**9
# Two changes within one tick of a file system's clock cannot be distinguished. FAT has the
# longest tick, 2 s. File servers have a clock of their own.
_RECENT = 3 * _SECOND


class FilesState(NamedTuple):
    """Names, sizes, times and places of files.

    Attributes:
        digest: SHA-256 hex digest of all of it.
        changed: when the file that changed last did so (its ctime), in ns since the epoch.
        whole_seconds: the files' ctimes are all in whole seconds.
    """

    digest: str
    changed: int
    whole_seconds: bool

    def proves_content(self, seen: int) -> bool:
        """Return whether files that are still in this state have the content they had.

        A program can set a file's modification time, and archives do, but the time of its last
        change comes from the system. It proves nothing if

        - it is recent: a later change may have the same time;
        - it is in whole seconds: then it is probably not kept at all, as in squashfs, ISO and FAT
          images, where it is what the maker of the image wrote.

        Args:
            seen: when the state was read, in ns since the epoch, before the content was.
        """
        return self.changed < seen - _RECENT and not self.whole_seconds


def files_state(files: Sequence[Path], folder: Path) -> FilesState:
    """Return the state of files.

    Raises:
        DataError: a file is missing or cannot be accessed.
    """
    digest, changed, whole_seconds = hashlib.sha256(), 0, True
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise unreadable(file, error) from None
        state = (
            os.fsencode(file.relative_to(folder)),
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
            found.st_dev,
        )
        digest.update(repr(state).encode())
        changed = max(changed, found.st_ctime_ns)
        whole_seconds = whole_seconds and found.st_ctime_ns % _SECOND == 0
    return FilesState(digest.hexdigest(), changed, whole_seconds)


def files_content(files: Sequence[Path], folder: Path) -> str:
    """Return the SHA-256 hex digest of the relative names and the content of files.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            content = sha256(file)
        except OSError as error:
            raise unreadable(file, error) from None
        digest.update(repr((os.fsencode(file.relative_to(folder)), content)).encode())
    return digest.hexdigest()
