"""Rounds, in which contenders take turns and are compared.

Ratios are taken within a round, while the machine is in the same state for both sides, and then
the median over rounds. The ratio of two medians would compare different moments.
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
    """Measure every contender once per round; the first one changes from round to round.

    Args:
        contenders: functions that measure a value each, in a fresh process.
        rounds: number of rounds.
        watch: called with round, name and value of each measurement.

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
    """Return the median and the range of values."""
    return Spread(median(values), min(values), max(values))


def ratios(values: Sequence[float], ours: Sequence[float]) -> Spread:
    """Return the ratio of a contender's value to ours for each round."""
    return spread([theirs / own for theirs, own in zip(values, ours, strict=True)])


@dataclass(frozen=True)
class Limit:
    """A limit that our value is compared with, apart from peers.

    Attributes:
        name: the name, in words.
        values: one value for each round.
        times: the largest allowed ratio of our value to the limit; None: it is only shown.
    """

    name: str
    values: list[float]
    times: float | None = 1.0


@dataclass(frozen=True)
class Row:
    """One line of the table, with a value for each round; smaller values are better.

    Attributes:
        what: the work, in words.
        unit: "s" or "B".
        ours: our values.
        peers: the peers' values, with our allocator settings.
        as_started: the peers' values, as a user would start them.
        target: the smallest acceptable ratio of the best peer's value to ours.
        limit: a limit for our values.
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
        """True if target and limit are met; None if there is nothing to meet."""
        found = []
        if self.target is not None and self.ratio is not None:
            found.append(self.ratio.median >= self.target)
        if self.limit is not None and self.limit.times is not None:
            found.append(ratios(self.ours, self.limit.values).median <= self.limit.times)
        return all(found) if found else None

    def _best(self, peers: Mapping[str, list[float]]) -> Spread | None:
        found = [ratios(values, self.ours) for values in peers.values()]
        return min(found) if found else None  # by the median
