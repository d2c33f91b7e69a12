"""A thread that reads what processes print to a pipe."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod

from metabench.threads import thread_starts

CHUNK = 2**16  # bytes that are read at once


class PipeReader(ABC):
    """A thread that reads a pipe until every writer has closed it, then closes it.

    Args:
        pipe: closed too if no thread can be started, so that no writer waits forever.

    Raises:
        OSError: no thread can be started.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._thread = threading.Thread(target=self._run, daemon=True)
        try:
            with thread_starts():
                self._thread.start()
        except OSError:
            os.close(pipe)
            raise

    def close(self, seconds: float) -> None:
        """Wait until all is read, at most some seconds: a child may keep the pipe open."""
        self._thread.join(seconds)

    def _run(self) -> None:
        self._copy(self._pipe)
        os.close(self._pipe)

    @abstractmethod
    def _copy(self, pipe: int) -> None:
        """Read the pipe to its end."""
