"""Garbage collection, suspended where it costs much and frees nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
