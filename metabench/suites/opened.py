"""A suite with its dataset read: manifests, and what learners may train on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from metabench.data.dataset import Dataset
from metabench.errors import DataError
from metabench.suites.listing import Listed
from metabench.suites.manifest import Manifest
from metabench.suites.material import Material, stream
from metabench.suites.pool import Pool
from metabench.suites.suite import Suite


@dataclass(frozen=True, eq=False)
class OpenSuite:
    """A suite with its dataset read: what a cell works on."""

    suite: Suite
    dataset: Dataset

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """The pools of the splits there are."""
        return self.suite.protocol.pools(self.dataset)

    def check(self) -> None:
        """Raise a DataError if test episodes of this shape cannot be drawn."""
        if isinstance(self.suite.protocol, Listed):
            return
        if "novel" not in self.pools:
            raise DataError(f"suite {self.suite.name}: dataset has no novel classes to test on")
        s = self.suite
        self.pools["novel"].check(s.way, s.shot, s.query, f"suite {s.name}")

    def manifest(self, block: int = 0) -> Manifest:
        """The frozen test episodes; blocks 1, 2, ... are further ones for the gate."""
        s = self.suite
        if isinstance(s.protocol, Listed):
            return s.protocol.manifest(self.dataset)
        key = stream(self.dataset.content, s.protocol.name, "novel", s.way, s.shot, s.query, None)
        first = block * s.episodes
        drawn = self.pools["novel"].draw(key, first, s.episodes, s.way, s.shot, s.query)
        return Manifest(self.dataset.content, s.way, s.shot, s.query, *drawn)

    @cached_property
    def episodes(self) -> Manifest:
        """Block 0, the episodes that the leaderboard scores."""
        return self.manifest()

    @cached_property
    def material(self) -> Material | None:
        """What learners may train on; None if the suite has no base classes."""
        if "base" not in self.pools:
            return None
        return Material.of(self.dataset, self.suite.protocol.name, self.pools)
