"""The clock, bound before any plugin is loaded, so that patching `time` has no effect."""

from __future__ import annotations

from time import perf_counter as now

import torch

__all__ = ["now", "synchronize"]


def synchronize(device: str) -> None:
    """Wait for a device to finish its queue; the CPU has none."""
    if device != "cpu":
        torch.accelerator.synchronize(torch.device(device))
