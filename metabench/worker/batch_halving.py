"""How many tasks fit into memory at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from metabench.worker import memory

T = TypeVar("T")


class BatchHalving:
    """Runs work on batches of tasks; where memory runs out, once, on half as many.

    Attributes:
        halved: it did; from then on every batch is halved.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.halved = False

    def run(self, work: Callable[[int], T], tasks: int) -> T:
        """What `work(tasks)` returns, or `work(tasks // 2)` if there is no room for all."""
        if not self.halved and tasks > 1:
            try:
                return work(tasks)
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
            self.halved = True
            memory.reset_peak(self._device)  # the exception is gone, and what it held with it
        return work(max(1, tasks // 2) if self.halved else tasks)
