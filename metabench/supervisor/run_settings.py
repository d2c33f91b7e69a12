"""Settings that all cells of a run share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metabench.cell.messages import ProcessSettings
from metabench.results.schema import MOST_THREADS
from metabench.results.store import CHECKPOINTS, LOGS, Store
from metabench.supervisor.environment import ALLOCATOR, cores
from metabench.supervisor.older_checkout import OlderCheckout
from metabench.supervisor.request import Request


@dataclass(frozen=True)
class RunSettings:
    """Settings that all cells of a run share."""

    process: ProcessSettings  # settings of each learner process
    results: Path  # the results folder; logs and checkpoints go below it
    data_root: str | None = None  # where datasets are kept; None: the default of the machine
    # environment variables of each learner process
    allocator: Mapping[str, str] = field(default_factory=dict)
    # seconds for one cell, start of the process included; None: no limit
    time_limit: float | None = None
    checkpoint_every: float = 30.0  # seconds of meta-training between checkpoints
    keep_checkpoints: bool = False  # keep the checkpoints of finished cells too
    grace: float = 5.0  # seconds between SIGTERM and SIGKILL
    contended: bool = False  # cells run side by side
    blocks: int = 1  # of test episodes that are scored
    timed: bool = True  # measure times, memory, and what answers depend on
    # take learners from their checkpoints, whatever code made them; train none
    frozen: bool = False
    checkout: OlderCheckout | None = None  # run another version of the code; only duels do

    @classmethod
    def of(
        cls,
        request: Request,
        results: Path,
        *,
        timed: bool = True,
        frozen: bool = False,
    ) -> RunSettings:
        """Make the settings for a request; cells that run side by side share the cores."""
        return cls(
            process=ProcessSettings(
                sources=request.sources,
                threads=threads_each(request),
                memory_limit=math.ceil(request.memory_limit * 2**20) or None,
            ),
            results=results,
            data_root=request.data_root or None,
            allocator=ALLOCATOR if request.allocator else {},
            time_limit=request.time_limit or None,
            checkpoint_every=request.checkpoint_every,
            keep_checkpoints=request.keep_checkpoints,
            contended=request.jobs > 1,
            blocks=request.blocks,
            timed=timed,
            frozen=frozen,
        )

    def log(self, path: Path) -> Path:
        """Return the file for what the learner process of a cell prints.

        Args:
            path: of the cell's result, relative to the results folder.

        Raises:
            DataError: a folder on the way is a link. Likewise for `checkpoint`.
        """
        return Store(self.results).place(LOGS / path.with_suffix(".log"))

    def checkpoint(self, path: Path) -> Path:
        """Return the file for the checkpoint of a cell."""
        return Store(self.results).place(CHECKPOINTS / path.with_suffix(".pt"))


def threads_each(request: Request) -> int:
    """Return the number of threads of each learner; cells side by side share the cores."""
    return request.threads or min(max(1, cores() // request.jobs), MOST_THREADS)
