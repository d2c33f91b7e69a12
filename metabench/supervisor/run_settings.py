"""How cells are run, the same for all cells of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metabench.plugins.sources import Doors
from metabench.supervisor.code_version import CodeVersion


@dataclass(frozen=True)
class RunSettings:
    """How cells are run.

    Attributes:
        doors: where learner processes load plugins from.
        results: the results folder; logs and checkpoints go below it.
        threads: of each learner process.
        allocator: environment variables of each learner process.
        time_limit: seconds for one cell, start of the process included; None: no limit.
        memory_limit: bytes for one learner process; None: no limit.
        checkpoint_every: seconds of meta-training between checkpoints.
        keep_checkpoints: also those of cells that are done.
        grace: seconds between SIGTERM and SIGKILL.
        contended: cells run side by side.
        blocks: of test episodes that are scored.
        timed: measure times and memory at test, and what answers depend on.
        home: run other code than the present; only duels do.
        frozen: take learners from their checkpoints whatever the code is now; train none.
    """

    doors: Doors
    results: Path
    threads: int
    allocator: Mapping[str, str] = field(default_factory=dict)
    time_limit: float | None = None
    memory_limit: int | None = None
    checkpoint_every: float = 30.0
    keep_checkpoints: bool = False
    grace: float = 5.0
    contended: bool = False
    blocks: int = 1
    timed: bool = True
    frozen: bool = False
    home: CodeVersion | None = None
