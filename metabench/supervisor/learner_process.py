"""One learner process: its start, and the messages that it answers."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from metabench.cell.messages import (
    Batch,
    Channel,
    Failed,
    Measure,
    Measured,
    Outputs,
    Progress,
    Start,
    Stop,
    Trained,
)
from metabench.supervisor.killable_process import KillableProcess
from metabench.supervisor.logfile import BoundedLog
from metabench.supervisor.older_checkout import OWN_PLUGINS
from metabench.supervisor.run_settings import RunSettings
from metabench.threads import thread_starts

_WORKER = """
try:
    from metabench.worker.main import main
except ImportError:  # metabench 0.1.0, against which `gate --base` measures
    from metabench.harness.worker import main
main()
"""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_Answer = TypeVar("_Answer", Trained, Measured, Outputs)


class LearnerFailed(Exception):
    """The learner raised an exception, or its process has ended."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class LearnerProcess(KillableProcess):
    """One learner in a process of its own.

    If it raises or its process ends, `train`, `measure` and `answer` raise `LearnerFailed`.

    Args:
        log: file for what the process prints.
        settings: how it is run.
        watch: called with the progress of meta-training.
    """

    def __init__(self, log: Path, settings: RunSettings, watch: Callable[[Progress], None]) -> None:
        checkout, threads = settings.checkout, str(settings.process.threads)
        printed, output = os.pipe()
        try:
            self.log = BoundedLog(log, printed)
            super().__init__(
                _WORKER if checkout is None else OWN_PLUGINS + _WORKER,
                grace=settings.grace,
                output=output,
                environment={**settings.allocator, **dict.fromkeys(_THREAD_VARIABLES, threads)},
                python=None if checkout is None else checkout.python,
                folder=None if checkout is None else checkout.folder,
            )
        finally:
            os.close(output)
        self._channel, self._watch = Channel(self.connection), watch
        self._timer: threading.Timer | None = None

    def call_after(self, seconds: float | None, call: Callable[[], object]) -> None:
        """Call a function, in another thread, if the process is not closed within some seconds.

        Raises:
            OSError: no thread can be started.
        """
        if seconds is not None:
            self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), call)
            with thread_starts():
                self._timer.start()

    def train(self, start: Start) -> Trained:
        """Build and meta-train the learner."""
        return self._ask(start, Trained)

    def measure(self, command: Measure) -> Measured:
        """Time the learner."""
        return self._ask(command, Measured)

    def answer(self, batch: Batch) -> Outputs:
        """Return the learner's outputs for a batch of test episodes."""
        return self._ask(batch, Outputs)

    def finish(self) -> None:
        """Send the message that no more episodes follow."""
        with contextlib.suppress(OSError):
            self._channel.send(Stop())

    def close(self) -> None:
        """Wait for the process to end, kill children that it leaves behind, complete the log."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()
        self.log.close(self._grace)

    def _ask(self, message: Start | Measure | Batch, expected: type[_Answer]) -> _Answer:
        """Send a message; return the first answer that is not a progress report."""
        why = "sent an unexpected message"
        try:
            self._channel.send(message)
            while self.wait_for_message():
                report = self._channel.next_report()
                if isinstance(report, expected):
                    return report
                if isinstance(report, Failed):
                    raise LearnerFailed(report)
                if not isinstance(report, Progress):
                    break
                self._watch(report)
        except (EOFError, OSError):
            how = self.ending()
            why = f"was {how}" if how.startswith("killed") else f"ended with {how}"
            why = why if how else "closed its connection"
        except msgspec.DecodeError:
            pass
        raise LearnerFailed(Failed("crashed", f"the learner process {why}", ""))
