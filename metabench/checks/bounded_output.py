"""The output of checks, made safe for a terminal and bounded."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import threading

from metabench.text import printable
from metabench.threads import thread_starts

MOST = 2**17  # bytes that are printed
_CHUNK = 2**16


class BoundedOutput:
    """A thread that prints the beginning of a pipe's content to stderr, and counts the rest.

    Args:
        pipe: read until every writer has closed it, then closed.

    Raises:
        OSError: no thread can be started.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._thread = threading.Thread(target=self._copy, daemon=True)
        try:
            with thread_starts():
                self._thread.start()
        except OSError:
            os.close(pipe)
            raise

    def close(self, seconds: float) -> None:
        """Wait until all is printed, at most some seconds: a child may keep the pipe open."""
        self._thread.join(seconds)

    def _copy(self) -> None:
        text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        room, left_out = MOST, 0
        while chunk := os.read(self._pipe, _CHUNK):
            shown = chunk[:room]
            room -= len(shown)
            left_out += len(chunk) - len(shown)
            _print(text.decode(shown))
        os.close(self._pipe)
        if left_out:
            _print(f"\n[... {left_out:,} more bytes left out ...]\n")


def _print(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
        sys.stderr.write(printable(text))
        sys.stderr.flush()
