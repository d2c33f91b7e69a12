"""One-off work in a timed block: imports, compilation, growth of device memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metabench.worker import memory
from metabench.worker.clock import now

_THREADS = Path("/proc/self/task")
_NAMED = 3  # modules


class Audit:
    """A snapshot of the process before a timed block, to be compared with its state after.

    Args:
        device: a torch device.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._modules = set(sys.modules)
        self._compiled = _compilations()
        self._reserved = memory.reserved(device)
        self._waited, self._started = _run_delays(), now()

    def cold(self) -> list[str]:
        """Return why the block was not warm: it imported, compiled or took more device memory."""
        imported = sorted(set(sys.modules) - self._modules)
        more = memory.reserved(self._device) - self._reserved
        return [
            *([f"imported {_shortened(imported)}"] if imported else []),
            *(["compiled"] if _compilations() > self._compiled else []),
            *([f"took {more / 2**20:.0f} MiB more of the device"] if more > 0 else []),
        ]

    def waited(self) -> float | None:
        """Return the largest share of the time that a thread was ready to run but had no core.

        None where the system does not report it.
        """
        before, after, passed = self._waited, _run_delays(), now() - self._started
        if not after or passed <= 0:
            return None
        return max(late - before.get(thread, 0) for thread, late in after.items()) / 1e9 / passed


def _shortened(names: list[str]) -> str:
    # A package is named once, without its modules.
    tops = [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
    more = len(tops) - _NAMED
    return ", ".join(tops[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _compilations() -> int:
    """Count the graphs that torch.compile has made so far."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return 0
    return int(dynamo.counters["stats"]["unique_graphs"])


def _run_delays() -> dict[str, int]:
    """Return the nanoseconds that each thread of this process has waited for a core.

    The scheduler counts them; the result is empty on systems without such counts.
    """
    try:
        return dict(_delays(_THREADS.iterdir()))
    except OSError:
        return {}


def _delays(threads: Iterable[Path]) -> Iterable[tuple[str, int]]:
    for thread in threads:
        try:
            _, delay, _ = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):  # the thread has ended, or the system does not count
            continue
        yield thread.name, int(delay)
