"""Contenders take turns, and are compared round by round.

A ratio is taken within a round, where both sides saw the same machine, and then the median
over rounds: medians of each side apart would compare different moments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, TypeVar

Name = TypeVar("Name", bound=Hashable)

OURS = "ours"


def alternate(
    contenders: Mapping[Name, Callable[[], float]],
    rounds: int,
    watch: Callable[[int, Name, float], None] = lambda number, name, value: None,
) -> dict[Name, list[float]]:
    """Measure every contender once a round; who is first changes from round to round.

    Args:
        contenders: measure a value each, in a fresh process.
        rounds: how many.
        watch: told round, name and value of each measurement.

    Returns:
        A value for each round, by name.
    """
    names = list(contenders)
    values: dict[Name, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            value = contenders[name]()
            values[name].append(value)
            watch(number, name, value)
    return values


class Spread(NamedTuple):
    """The median over rounds, between the smallest and the largest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and range of values."""
    return Spread(median(values), min(values), max(values))


def ratios(values: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times ours a contender's values are, round by round."""
    return spread([theirs / own for theirs, own in zip(values, ours, strict=True)])


@dataclass(frozen=True)
class Limit:
    """What our value is held against where that is no peer.

    Attributes:
        name: in words.
        values: one for each round.
        times: how many times the limit ours may be at most; None: it is only shown.
    """

    name: str
    values: list[float]
    times: float | None = 1.0


@dataclass(frozen=True)
class Row:
    """One line of the table. Values are better the smaller, one for each round.

    Attributes:
        what: the work, in words.
        unit: "s" or "B".
        ours: our values.
        peers: theirs, with our allocator settings.
        as_started: theirs, as a user would start them.
        target: how many times ours the best peer's value is to be at least.
        limit: what else ours is held against.
    """

    what: str
    unit: str
    ours: list[float]
    peers: dict[str, list[float]] = field(default_factory=dict)
    as_started: dict[str, list[float]] = field(default_factory=dict)
    target: float | None = None
    limit: Limit | None = None

    @property
    def ratio(self) -> Spread | None:
        """The best peer's value over ours, with the same allocator settings."""
        return self._best(self.peers)

    @property
    def ratio_as_started(self) -> Spread | None:
        """The best peer's value over ours, the peer as a user would start it."""
        return self._best(self.as_started)

    @property
    def of_limit(self) -> Spread | None:
        """Ours over the limit."""
        return None if self.limit is None else ratios(self.ours, self.limit.values)

    @property
    def met(self) -> bool | None:
        """Whether target and limit are met; None if there is nothing to meet."""
        found = []
        if self.target is not None and self.ratio is not None:
            found.append(self.ratio.median >= self.target)
        if self.limit is not None and self.limit.times is not None:
            found.append(ratios(self.ours, self.limit.values).median <= self.limit.times)
        return all(found) if found else None

    def _best(self, peers: Mapping[str, list[float]]) -> Spread | None:
        found = [ratios(values, self.ours) for values in peers.values()]
        return min(found) if found else None  # by the median
