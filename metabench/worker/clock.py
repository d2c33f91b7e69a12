"""The clock, bound before any plugin is loaded, so that patching `time` has no effect."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter as now

import torch

__all__ = ["no_gc", "now", "synchronize"]


def synchronize(device: str) -> None:
    """Wait for a device to finish its queue; the CPU has none."""
    if device != "cpu":
        torch.accelerator.synchronize(torch.device(device))


@contextmanager
def no_gc() -> Iterator[None]:
    """Suspend garbage collection during the block.

    There is no collection just before it either: with torch imported, a full collection takes
    longer than most batches of tasks. Garbage is collected between blocks.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
