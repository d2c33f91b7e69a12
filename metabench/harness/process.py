"""A learner process: started, spoken to, and ended with everything it left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from metabench.harness.logfile import BoundedLog
from metabench.harness.messages import (
    Batch,
    Channel,
    Failed,
    FromLearner,
    Measure,
    Measured,
    Outputs,
    Progress,
    Start,
    Stop,
    Trained,
)

_SECONDS_BETWEEN_LOOKS = 0.5
_WORKER = "metabench.harness.worker"
_MARK = "METABENCH_LEARNER"  # in the environment of a learner process and all its children
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class LearnerFailed(Exception):
    """The learner raised, or its process is gone."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class LearnerProcess:
    """One learner in a process and process group of its own.

    `stop` may be called from another thread at any time; whoever waits for an answer then
    gets a `LearnerFailed`.

    Args:
        log: file for what the process prints.
        threads: how many it may compute with.
        allocator: environment variables for its memory allocator.
        grace: seconds it gets to end by itself.
        watch: told about progress.
    """

    def __init__(
        self,
        log: Path,
        threads: int,
        allocator: Mapping[str, str],
        grace: float,
        watch: Callable[[Progress], None],
    ) -> None:
        self._grace, self._watch = grace, watch
        self._stopping = threading.Lock()
        self._mark = secrets.token_hex(16)
        self._socket, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        printed, output = os.pipe()
        self.log = BoundedLog(log, printed)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER, str(theirs.fileno()), str(lifeline)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **allocator,
                **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
                _MARK: self._mark,
            },
            pass_fds=(theirs.fileno(), lifeline),
            start_new_session=True,
        )
        theirs.close()
        os.close(lifeline)
        os.close(output)
        self._channel = Channel(Connection(os.dup(self._socket.fileno())))

    def train(self, start: Start) -> Trained:
        """Build and meta-train the learner.

        Raises:
            LearnerFailed: it could not; likewise for `measure` and `answer`.
        """
        report = self._ask(start)
        if not isinstance(report, Trained):
            raise _out_of_step()
        return report

    def measure(self, order: Measure) -> Measured:
        """Time the learner."""
        report = self._ask(order)
        if not isinstance(report, Measured):
            raise _out_of_step()
        return report

    def answer(self, batch: Batch) -> Outputs:
        """Put a batch of test episodes to the learner."""
        report = self._ask(batch)
        if not isinstance(report, Outputs):
            raise _out_of_step()
        return report

    def finish(self) -> None:
        """Tell the learner that no more episodes come."""
        with contextlib.suppress(OSError):
            self._channel.send(Stop())

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL, to its whole group."""
        with self._stopping:
            if self._process.poll() is None:
                self._signal(signal.SIGTERM)
                self._wait()
            self._signal(signal.SIGKILL)  # children may be left when the process is not
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever sends or receives

    def close(self) -> None:
        """Wait for the process to end; leave nothing behind, its children included."""
        self._channel.close()
        self._socket.close()
        self._wait()
        self._signal(signal.SIGKILL)
        self._process.wait()
        kill_marked(self._mark)
        os.close(self._lifeline)
        self.log.close(self._grace)

    def _ask(self, message: Start | Measure | Batch) -> FromLearner:
        """Send a message; return the first answer that is not progress."""
        try:
            self._channel.send(message)
            report = self._receive()
            while isinstance(report, Progress):
                self._watch(report)
                report = self._receive()
        except (EOFError, OSError):
            raise LearnerFailed(self._why_gone()) from None
        except msgspec.DecodeError:
            raise _out_of_step() from None
        if isinstance(report, Failed):
            raise LearnerFailed(report)
        return report

    def _receive(self) -> FromLearner:
        """The next report; a pipe that a child keeps open after the process died is no report."""
        while not self._channel.poll(_SECONDS_BETWEEN_LOOKS):
            if self._process.poll() is not None and not self._channel.poll(0):
                raise EOFError
        return self._channel.next_report()

    def _why_gone(self) -> Failed:
        self._wait()
        code = self._process.poll()
        if code is None:
            why = "the learner process closed its connection"
        elif code < 0:
            why = f"the learner process was killed by {signal.Signals(-code).name}"
        else:
            why = f"the learner process ended with exit code {code}"
        return Failed(status="crashed", reason=why, traceback="")

    def _wait(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)

    def _signal(self, number: signal.Signals) -> None:
        # The process leads its own session, so its group has its number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def kill_marked(mark: str) -> None:
    """Kill what a learner process started and what left its process group since.

    Children inherit the environment, and with it the mark. Only Linux tells it.
    """
    needle = f"{_MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def _out_of_step() -> LearnerFailed:
    return LearnerFailed(Failed("crashed", "the learner process answered out of turn", ""))
