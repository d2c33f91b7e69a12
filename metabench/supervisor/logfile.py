"""Output of a learner process, kept in a file of bounded size."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from pathlib import Path
from typing import BinaryIO

from metabench.supervisor.pipe_reader import CHUNK, PipeReader

HALF = 2**20  # bytes kept of the beginning, and of the end


class BoundedLog(PipeReader):
    """A file that gets the beginning of a pipe's content at once, and its end when it closes.

    So a plugin that prints endlessly does not fill the disk, and the last lines before a failure
    are kept. If the disk is full, the log is incomplete and the cell runs on.

    Args:
        file: the log; an older one is replaced.
        pipe: read until every writer has closed it, then closed.

    Raises:
        OSError: no thread can be started; the pipe is closed.
    """

    def __init__(self, file: Path, pipe: int) -> None:
        self._file = file
        self._end: deque[bytes] = deque()
        self._kept = self._left_out = 0
        self._log: BinaryIO | None = None
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)  # not emptied: a link may lead to any file
            self._log = file.open("xb", buffering=0)
        try:
            super().__init__(pipe)
        except OSError:
            if self._log is not None:
                self._log.close()
            raise

    def tail(self, size: int) -> str:
        """Return the last bytes of the log, as text; "" if there is no log."""
        with contextlib.suppress(OSError):
            return self._file.read_bytes()[-size:].decode(errors="replace")
        return ""

    def _copy(self, pipe: int) -> None:
        room = HALF
        while room > 0 and (chunk := os.read(pipe, min(CHUNK, room))):
            self._write(chunk)
            room -= len(chunk)
        # Writers must not wait for a reader, even if the log cannot be written.
        while chunk := os.read(pipe, CHUNK):
            self._end.append(chunk)
            self._kept += len(chunk)
            while self._kept - len(self._end[0]) >= HALF:
                dropped = len(self._end.popleft())
                self._kept -= dropped
                self._left_out += dropped
        if self._end:
            note = f"\n[... {self._left_out:,} bytes left out ...]\n" if self._left_out else ""
            self._write(note.encode() + b"".join(self._end))
        if self._log is not None:
            self._log.close()

    def _write(self, chunk: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._log is not None:
                self._log.write(chunk)
