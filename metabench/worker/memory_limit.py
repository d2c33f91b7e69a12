"""A limit on the memory of one process, enforced by the operating system."""

from __future__ import annotations

import resource
from pathlib import Path

from metabench.errors import UsageError

_STATUS = Path("/proc/self/status")
_ROOM = 2**25  # minimum that a learner process needs


def limit_memory(limit: int) -> None:
    """Limit this process to `limit` bytes of memory from now on.

    The limit covers private writable memory (RLIMIT_DATA): what Python, torch and a learner
    allocate, but neither mapped files nor addresses that are only reserved.

    Raises:
        UsageError: the process already uses that much, or nearly, or the system refuses the limit.
    """
    used = status_bytes("VmData") or 0
    if used + _ROOM > limit:
        raise UsageError(
            f"memory limit of {limit / 2**20:.0f} MiB: a learner process needs "
            f"{used / 2**20:.0f} MiB before any learner is built: raise the limit"
        )
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"memory limit of {limit / 2**20:.0f} MiB: the system refuses it: {error}"
        ) from None


def status_bytes(name: str) -> int | None:
    """Return a size from /proc/self/status in bytes; None if the system does not report it."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return next((1024 * int(kib) for kib in found), None)
