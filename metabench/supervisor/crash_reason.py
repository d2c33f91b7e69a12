"""Causes outside the learner of the end of its process: no memory, no thread, no data, a signal."""

from __future__ import annotations

from pathlib import Path

from metabench.cell.messages import Failed
from metabench.supervisor.learner_process import LearnerProcess
from metabench.threads import NONE_LEFT

_OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "memory allocation", "MemoryError")
_ENDED = ("killed by SIGTERM", "killed by SIGHUP", "killed by SIGINT")
_LOG_TAIL = 4096  # bytes of the log that are searched for these


def with_cause(
    failed: Failed, process: LearnerProcess, memory_limit: int | None, data: Path | None
) -> Failed:
    """Return a failure with its cause, if that is recognised as one outside the learner."""
    if failed.status == "crashed":  # native code that gets no memory or thread may print why
        printed = process.log.tail(_LOG_TAIL)
        if memory_limit is not None and any(words in printed for words in _OUT_OF_MEMORY):
            limit = f"over the memory limit of {memory_limit / 2**20:.0f} MiB"
            return Failed("oom", f"{limit}: {failed.reason}", "")
        if any(words in printed for words in NONE_LEFT):
            reason = f"the machine had no process or thread left: {failed.reason}"
            return Failed("interrupted", reason, "")
    if data is not None and not data.is_dir():
        reason = f"{data} was removed; set TMPDIR to a folder that nobody tidies"
        return Failed("interrupted", reason, "")
    if process.ending() in _ENDED:  # a batch system ends all processes of a job
        return Failed("interrupted", failed.reason, "")
    return failed
