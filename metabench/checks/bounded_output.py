"""The output of checks, made safe for a terminal and bounded."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys

from metabench.supervisor.pipe_reader import CHUNK, PipeReader
from metabench.text import printable

MOST = 2**17  # bytes that are printed


class BoundedOutput(PipeReader):
    """A thread that prints the beginning of a pipe's content to stderr, and counts the rest."""

    def _copy(self, pipe: int) -> None:
        text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        room, left_out = MOST, 0
        while chunk := os.read(pipe, CHUNK):
            shown = chunk[:room]
            room -= len(shown)
            left_out += len(chunk) - len(shown)
            _print(text.decode(shown))
        if left_out:
            _print(f"\n[... {left_out:,} more bytes left out ...]\n")


def _print(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
        sys.stderr.write(printable(text))
        sys.stderr.flush()
