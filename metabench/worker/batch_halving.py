"""Batches of tasks, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from metabench.worker import memory

T = TypeVar("T")


class BatchHalving:
    """A runner of work on batches of tasks, which halves them once if memory runs out.

    Attributes:
        halved: memory has run out; from then on every batch is halved.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.halved = False

    def run(self, work: Callable[[int], T], tasks: int) -> T:
        """Return `work(tasks)`, or `work(tasks // 2)` if memory does not suffice for all."""
        if not self.halved and tasks > 1:
            try:
                return work(tasks)
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
            self.halved = True
            memory.reset_peak(self._device)  # the exception no longer holds memory
        return work(max(1, tasks // 2) if self.halved else tasks)
