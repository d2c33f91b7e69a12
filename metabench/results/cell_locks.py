"""Locks on cells, so that several runs into one folder share the work."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import zlib
from pathlib import Path

from metabench.results.store import LOGS, Store, writing

_FILE = "claims.lock"


class CellLocks:
    """One lock for each cell, released when the process that holds it ends, however it ends.

    On Linux, runs in threads of one process exclude each other too. The locks are ranges of one
    file, so nothing has to be tidied up. If the file system has no locks, every claim is granted,
    and cells may be run twice.

    Args:
        root: the results folder.

    Raises:
        DataError: it cannot be written to.
    """

    def __init__(self, root: Path) -> None:
        file = Store(root).place(Path(LOGS, _FILE))
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            # Open for as long as any lock is held: closing it would release all of them. Who
            # may write to it depends on the user's mask, as for all files of a shared folder.
            self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)

    def take(self, path: Path) -> bool:
        """Claim a cell by its path; return False if another process has claimed it."""
        try:
            self._set(fcntl.F_WRLCK, path)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def release(self, path: Path) -> None:
        """Release a claim."""
        try:
            self._set(fcntl.F_UNLCK, path)
        except OSError:
            return

    def close(self) -> None:
        """Release all claims."""
        os.close(self._file)

    def _set(self, kind: int, path: Path) -> None:
        """Lock or unlock the place of a cell, without waiting."""
        place = _place(path)
        if sys.platform == "linux":  # a lock of this open file, not of the process
            lock = struct.pack("hhqqi", kind, os.SEEK_SET, place, 1, 0)
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, lock)
        else:
            how = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
            fcntl.lockf(self._file, how, 1, place)


def _place(path: Path) -> int:
    # Two cells may share a place; then one waits for the other, which does no harm.
    return zlib.crc32(path.as_posix().encode())
