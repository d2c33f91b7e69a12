"""One learner process: its start, its messages, and the end of all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from metabench.cell.messages import (
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
from metabench.supervisor.code_version import CodeVersion
from metabench.supervisor.logfile import BoundedLog

_SECONDS_BETWEEN_LOOKS = 0.5
_WORKER = """
try:
    from metabench.worker.main import main
except ImportError:  # metabench 0.1.0, against which `gate --base` measures
    from metabench.harness.worker import main
main()
"""
_GUARDIAN = Path(__file__).with_name("guardian.py")
_STALLED = 60  # seconds that the rest of a message may take
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class LearnerFailed(Exception):
    """The learner raised an exception, or its process has ended."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class LearnerProcess:
    """One learner in a process and process group of its own.

    `stop` may be called from another thread at any time; a thread that waits for an answer then
    gets a `LearnerFailed`.

    Args:
        log: file for what the process prints.
        threads: number of threads that it computes with.
        allocator: environment variables for its memory allocator.
        grace: seconds between SIGTERM and SIGKILL.
        watch: called with the progress of meta-training.
        home: run another version of the code; None: the present one.
    """

    def __init__(
        self,
        log: Path,
        threads: int,
        allocator: Mapping[str, str],
        grace: float,
        watch: Callable[[Progress], None],
        home: CodeVersion | None = None,
    ) -> None:
        self._grace, self._watch = grace, watch
        self._stopping, self._lock = threading.Lock(), threading.Lock()
        self._socket, theirs = socket.socketpair()
        # The rest of a message that was begun must not be waited for forever.
        stalled = struct.pack("ll", _STALLED, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stalled)
        self._lifeline: int | None
        lifeline, self._lifeline = os.pipe()
        printed, output = os.pipe()
        self.log = BoundedLog(log, printed)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(_GUARDIAN), str(lifeline), str(grace)),
                *(sys.executable if home is None else home.python, "-c", _WORKER),
                *(str(theirs.fileno()), str(lifeline)),
            ],
            cwd=None if home is None else home.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **allocator,
                **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
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
            LearnerFailed: the learner raised an exception, or its process ended; likewise for
                `measure` and `answer`.
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
        """Return the learner's outputs for a batch of test episodes."""
        report = self._ask(batch)
        if not isinstance(report, Outputs):
            raise _out_of_step()
        return report

    def finish(self) -> None:
        """Send the learner process the message that no more episodes follow."""
        with contextlib.suppress(OSError):
            self._channel.send(Stop())

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL, to it and all its children."""
        with self._stopping:
            if self._process.poll() is None:
                self._process.terminate()  # the guardian does the rest
                self._wait(2 * self._grace + 1)
            self._let_go()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes threads that send or receive

    def close(self) -> None:
        """Wait for the process to end, and kill children that it leaves behind."""
        self._channel.close()
        self._socket.close()
        self._wait(self._grace)
        self._let_go()
        self._process.wait()
        self.log.close(self._grace)

    def _ask(self, message: Start | Measure | Batch) -> FromLearner:
        """Send a message; return the first answer that is not a progress report."""
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
        """Return the next report.

        Raises:
            EOFError: the process has ended, even if a child of it keeps the pipe open.
        """
        while not self._channel.poll(_SECONDS_BETWEEN_LOOKS):
            if self._process.poll() is not None and not self._channel.poll(0):
                raise EOFError
        return self._channel.next_report()

    def _let_go(self) -> None:
        """Close the lifeline: the guardian kills whatever still runs."""
        with self._lock:
            if self._lifeline is not None:
                os.close(self._lifeline)
            self._lifeline = None

    def _why_gone(self) -> Failed:
        self._wait(self._grace)
        code = self._process.poll()
        if code is None:
            why = "the learner process closed its connection"
        elif code < 0:
            names = {number.value: number.name for number in signal.Signals}
            why = f"the learner process was killed by {names.get(-code, f'signal {-code}')}"
        else:
            why = f"the learner process ended with exit code {code}"
        return Failed(status="crashed", reason=why, traceback="")

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)


def _out_of_step() -> LearnerFailed:
    return LearnerFailed(Failed("crashed", "the learner process sent an unexpected message", ""))
