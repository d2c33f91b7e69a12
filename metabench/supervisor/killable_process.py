"""A process with a guardian, which kills it and everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from metabench.supervisor import guardian

_TICK = 0.5  # seconds between checks that the process still runs
_MAX_BYTES = 2**30  # bytes of a message; outputs of a batch of episodes take less
_STALLED = struct.pack("ll", 60, 0)  # seconds that the rest of a message may take


class _Bounded(Connection):
    """A connection that refuses messages of absurd length instead of making room for them."""

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        return super().recv_bytes(min(maxlength or _MAX_BYTES, _MAX_BYTES))


class KillableProcess:
    """A Python process in a session of its own, killed with its children when this process ends.

    `stop` and `kill` may be called from another thread at any time.

    Args:
        code: what it runs; `sys.argv[1:]` are the file descriptors of its connection to this
            process and of the lifeline, then `arguments`.
        grace: seconds between SIGTERM and SIGKILL.
        output: file descriptor that it prints to; by default that of stderr.
        environment: variables that are added to those of this process.
        python: its interpreter; None: this one. It imports every module from where this process
            would, and nothing from the working folder that this process would not.
        folder: its working folder; None: that of this process.
    """

    def __init__(
        self,
        code: str,
        *arguments: str,
        grace: float,
        output: int = 2,
        environment: Mapping[str, str] = {},
        python: str | None = None,
        folder: Path | None = None,
    ) -> None:
        self._grace = grace
        self._socket, theirs = socket.socketpair()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STALLED)
        lifeline, held = os.pipe()
        self._lifeline = os.fdopen(held, "wb")
        command = [sys.executable, "-I", "-S", guardian.__file__, str(lifeline), str(grace)]
        safe_path = {}
        if python is None:
            # `python -m`, by which joblib starts processes, would search the working folder first.
            safe_path = {"PYTHONSAFEPATH": "1"}
            path = [os.fspath(entry) for entry in sys.path]
            command += [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {path!r}\n{code}"]
        else:
            command += [python, "-c", code]
        command += [str(theirs.fileno()), str(lifeline), *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **safe_path, **environment},
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(lifeline)
        self.connection = _Bounded(os.dup(self._socket.fileno()))

    def wait_for_message(self, seconds: float = float("inf")) -> bool:
        """Return whether a message arrives within some seconds.

        Raises:
            EOFError: the process has ended, even if a child of it keeps the connection open.
        """
        while not self.connection.poll(min(seconds, _TICK)):
            if self._process.poll() is not None and not self.connection.poll(0):
                raise EOFError
            if (seconds := seconds - _TICK) <= 0:
                return False
        return True

    def ending(self) -> str:
        """Describe how it ended: "killed by SIGSEGV", "exit code 1"; "" if it still runs."""
        self._wait(self._grace)
        code = self._process.poll()
        if code is None or code >= 0:
            return "" if code is None else f"exit code {code}"
        names = {-number: number.name for number in signal.Signals}
        return f"killed by {names.get(code, f'signal {-code}')}"

    def started(self) -> int:
        """Return how many processes it has started that have not ended; 0 if that is unknown."""
        try:
            below = guardian.descendants(self._process.pid)
        except OSError:  # no /proc
            return 0
        return max(0, len(below) - 1)  # the guardian's own child is the process itself

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL, to it and all its children."""
        self._process.terminate()  # the guardian does the rest
        self._wait(2 * self._grace + 1)
        self.kill()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes threads that send or receive

    def kill(self) -> None:
        """Close the lifeline: the guardian immediately kills whatever still runs."""
        self._lifeline.close()

    def close(self) -> None:
        """Wait for the process to end, and kill children that it leaves behind."""
        self.connection.close()
        self._socket.close()
        self._wait(self._grace)
        self.kill()
        self._process.wait()

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
