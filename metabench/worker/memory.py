"""Peak memory of one phase: of the learner process on a CPU, of the allocator on a device."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

import torch

from metabench.worker.memory_limit import status_bytes

_CLEAR = Path("/proc/self/clear_refs")
# The primitives are oneDNN's; its messages do not mention memory.
_OUT_OF_MEMORY = (
    *("allocate memory", "bad_alloc"),
    *("could not create a primitive", "could not execute a primitive"),
)
_RESET_PEAK = b"5"  # proc(5): sets the peak resident size to the current one


def reset_peak(device: str) -> None:
    """Release unused memory and start a new measurement of the peak."""
    gc.collect()
    if device != "cpu":
        torch.accelerator.empty_cache()
        with contextlib.suppress(RuntimeError):  # not every backend counts
            torch.accelerator.reset_peak_memory_stats(device)
        return
    # Memory that was freed still counts as the process's until the allocator returns it.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    try:
        _CLEAR.write_bytes(_RESET_PEAK)
    except OSError:
        return  # `peak` then returns None


def peak(device: str) -> int | None:
    """Return the peak in bytes since `reset_peak`; None where the system does not report it.

    On a CPU this is the resident memory of the whole process, Python and torch included
    (VmHWM of Linux); on a device, the memory that torch's allocator gave out.
    """
    if device != "cpu":
        try:
            return int(torch.accelerator.max_memory_allocated(device))
        except RuntimeError:  # not every backend counts
            return None
    if not _can_reset():
        return None
    return status_bytes("VmHWM")


def reserved(device: str) -> int:
    """Return the bytes that torch's allocator holds on a device; 0 on a CPU."""
    if device == "cpu":
        return 0
    try:
        return int(torch.accelerator.memory_reserved(device))
    except RuntimeError:  # not every backend counts
        return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, on the device or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if type(error) is not RuntimeError:
        return False
    words = str(error)  # on a CPU torch and C++ have no exception of their own for it
    return any(known in words for known in _OUT_OF_MEMORY)


def _can_reset() -> bool:
    try:
        with _CLEAR.open("wb"):
            return True
    except OSError:
        return False
