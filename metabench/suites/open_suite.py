"""A suite with its dataset loaded: manifests and training data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from metabench.data.dataset import SPLITS, Dataset, Indices, Targets, truth
from metabench.errors import DataError, UsageError
from metabench.suites.episode_draw import Pool
from metabench.suites.listing import Listed
from metabench.suites.manifest import Manifest
from metabench.suites.protocol import BySplit
from metabench.suites.training_data import TrainingData, stream

if TYPE_CHECKING:
    from metabench.suites.suite import Suite


@dataclass(frozen=True, eq=False)
class OpenSuite:
    """A suite with its dataset loaded, as a cell uses it.

    Attributes:
        suite: the suite.
        dataset: its dataset.
        block: the index of its frozen block of test episodes. The leaderboard uses block 0, and
            the gate may need further ones.
    """

    suite: Suite
    dataset: Dataset
    block: int = 0

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """The pools of the splits that exist."""
        return self.suite.protocol.pools(self.dataset)

    def check(self) -> None:
        """Raise an error if test episodes of this shape cannot be drawn or scored.

        Raises:
            DataError: there are too few classes or images.
            UsageError: the metric does not fit the dataset.
        """
        if (self.dataset.targets is None) != (self.suite.kind == "classification"):
            raise UsageError(
                f"suite {self.suite.name}: metric '{self.suite.metric}' does not fit dataset "
                f"{self.dataset.name}: 'mse' is for functions, 'accuracy' for classes"
            )
        if isinstance(self.suite.protocol, Listed):
            return
        if "novel" not in self.pools:
            raise DataError(f"suite {self.suite.name}: dataset has no novel classes to test on")
        s = self.suite
        if isinstance(s.protocol, BySplit):
            self._check_way()
        self.pools["novel"].check(s.way, s.shot, s.query, f"suite {s.name}")
        self._check_turns(s.episodes)

    def _check_way(self) -> None:
        """Raise a DataError that says how to get more novel classes if the split left too few."""
        counts = {split: len(self.dataset.split(split)) for split in SPLITS}
        way, novel, total = self.suite.way, counts["novel"], sum(counts.values())
        if novel >= way or novel == total:
            return
        ways_out = [f"use way={novel} or less"] if novel >= 2 else []
        if self.dataset.facts.get("split") == "auto" and total >= 2:
            most = "" if total >= way else f" with way={total}"
            ways_out.append(f"give split=novel{most} to test on all classes and train on none")
        parts = " / ".join(f"{count} {split}" for split, count in counts.items())
        raise DataError(
            f"suite {self.suite.name}: {way}-way episodes need {way} novel classes, but {total} "
            f"classes were split into {parts}: {', or '.join([*ways_out, 'add classes'])}"
        )

    def manifest(self, block: int = 0) -> Manifest:
        """Return one block of frozen test episodes; blocks 1, 2, ... are for the gate."""
        s = self.suite
        if isinstance(s.protocol, Listed):
            self.check_blocks(block + 1)
            return s.protocol.manifest(self.dataset)
        key = stream(self.dataset.content, s.protocol.name, "novel", s.way, s.shot, s.query, None)
        first = block * s.episodes
        self._check_turns(first + s.episodes)
        drawn = self.pools["novel"].draw(key, first, s.episodes, s.way, s.shot, s.query)
        return Manifest(self.dataset.content, s.way, s.shot, s.query, *drawn)

    @cached_property
    def episodes(self) -> Manifest:
        """The test episodes of this block."""
        return self.manifest(self.block)

    def at(self, block: int) -> OpenSuite:
        """Return the same suite at another block of episodes."""
        return self if block == self.block else replace(self, block=block)

    def check_blocks(self, blocks: int) -> None:
        """Raise an error if the suite has fewer than `blocks` blocks of episodes.

        Raises:
            DataError: the suite lists its episodes, or has too few functions.
        """
        if not isinstance(self.suite.protocol, Listed):
            self._check_turns(blocks * self.suite.episodes)
        elif blocks > 1:
            raise DataError(
                f"suite {self.suite.name} lists its episodes: it has 1 block of them, not {blocks}"
            )

    def _check_turns(self, episodes: int) -> None:
        """Raise a DataError if a function would be used twice, because it would count twice."""
        pool = self.pools["novel"]
        if pool.in_turn and episodes > len(pool.classes):
            raise DataError(
                f"suite {self.suite.name}: {episodes:,} episodes need as many functions, there are "
                f"{len(pool.classes):,} ({episodes - len(pool.classes):,} missing)"
            )

    def support_truth(self, part: slice) -> Indices | Targets:
        """Return the true answers of support examples: labels [T, S], or values [T, S, 1]."""
        drawn = self.episodes
        return truth(drawn.support[part], drawn.support_y[part], self.dataset.targets)

    def query_truth(self, part: slice) -> Indices | Targets:
        """Return the true answers of queries: labels [T, Q], or values [T, Q, 1]."""
        drawn = self.episodes
        return truth(drawn.query[part], drawn.query_y[part], self.dataset.targets)

    @cached_property
    def material(self) -> TrainingData | None:
        """The data that learners may train on; None if the suite has no base classes."""
        if "base" not in self.pools:
            return None
        return TrainingData.of(self.dataset, self.suite.protocol.name, self.pools)
