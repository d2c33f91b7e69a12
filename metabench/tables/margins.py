"""Margins: the loss of score that the gate and comparisons allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from metabench import address
from metabench.address import Value
from metabench.errors import UsageError, unknown
from metabench.learner import Metric
from metabench.results.schema import Result

_MAX_FRACTION = 0.1  # plain number for an accuracy: 0.5 is not meant to be 50 points

_UNITS: tuple[tuple[str, Literal["points", "relative"]], ...] = (
    ("pp", "points"),
    ("%", "relative"),
)


@dataclass(frozen=True)
class Margin:
    """A loss that is allowed."""

    text: str  # the margin as it was written
    amount: float  # a fraction: 0.005 for "0.5pp" and for "0.005", 0.05 for "5%"
    # "points" of accuracy, "relative" to the baseline's score, or "absolute" in the units of the
    # metric: a fraction, or a squared error
    unit: Literal["points", "relative", "absolute"]

    @classmethod
    def parse(cls, text: str) -> Margin:
        """Read "0.5pp", "5%" or "0.005".

        Raises:
            UsageError: the text is none of these, or negative.
        """
        written, scale, unit = text.strip(), 1.0, "absolute"
        for suffix, name in _UNITS:
            if written.endswith(suffix):
                written, scale, unit = written.removesuffix(suffix), 0.01, name
        try:
            amount = float(written) * scale
        except ValueError:
            amount = -1.0
        if not 0 <= amount < math.inf:
            raise UsageError(
                f"margin '{text}': write points of accuracy (0.5pp), a share of the baseline's "
                "score (5%), or a plain number in units of the metric"
            )
        return cls(text.strip(), amount, unit)  # type: ignore[arg-type]

    def applies(self, metric: Metric) -> bool:
        """Return whether the margin has a meaning for a metric: squared errors have no points."""
        return self.unit != "points" or metric == "accuracy"

    def check(self, metric: Metric) -> None:
        """Refuse a margin that makes no sense for a metric.

        Raises:
            UsageError: it has no meaning for the metric, or is implausibly large for an accuracy.
        """
        if not self.applies(metric):
            raise UsageError(f"margin {self.text}: squared errors have no points; write 5%")
        if metric == "accuracy" and self.unit == "absolute" and self.amount >= _MAX_FRACTION:
            either = f" or {100 * self.amount:g}pp" if self.amount < 1 else ""
            raise UsageError(
                f"margin '{self.text}' is {100 * self.amount:g} points of accuracy: "
                f"write {self.text}pp{either}"
            )
        if metric == "accuracy" and self.amount >= 1:
            raise UsageError(
                f"margin '{self.text}' allows any accuracy: write a few points, such as 0.5pp"
            )

    def of(self, baseline: float) -> float:
        """Return the margin in units of the metric, for a baseline's mean score."""
        return self.amount * baseline if self.unit == "relative" else self.amount


DEFAULTS: Mapping[Metric, Margin] = {
    "accuracy": Margin.parse("0.5pp"),
    "mse": Margin.parse("5%"),
}


@dataclass(frozen=True)
class Margins:
    """The margin of each algorithm."""

    given: Margin | None = None  # the margin for all algorithms, as given by `--margin`
    # margins by name, or by address for one set of parameters
    by_algorithm: Mapping[str, Margin] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: str | None, by_algorithm: Mapping[str, str]) -> Margins:
        """Read the margins of the command line and of `bench.toml`.

        Raises:
            UsageError: one of them is not a margin.
        """
        return cls(
            None if given is None else Margin.parse(given),
            {name: Margin.parse(text) for name, text in by_algorithm.items()},
        )

    def of(self, algorithm: str, params: Mapping[str, Value], metric: Metric) -> Margin:
        """Return the first that applies: the one given, the most specific, the default.

        Args:
            algorithm: the algorithm's name.
            params: all of its parameters.
            metric: the suite's metric.

        Raises:
            UsageError: a plain number that is implausibly large for an accuracy.
        """
        named = [
            (len(address.parse(text).params), margin)
            for text, margin in self.by_algorithm.items()
            if address.means(text, algorithm, params, {})
        ]
        special = [margin for _, margin in sorted(named, key=lambda one: -one[0])]
        for margin in (self.given, *special):
            if margin is not None and margin.applies(metric):
                margin.check(metric)
                return margin
        return DEFAULTS[metric]

    def of_result(self, result: Result) -> Margin:
        """Return the margin of a stored result's algorithm."""
        job = result.job
        return self.of(job.algorithm, {**job.params, **job.chosen}, result.suite.metric)

    def check(self, known: Iterable[str]) -> None:
        """Check that every margin names an algorithm that exists.

        Args:
            known: the names of all algorithms.

        Raises:
            UsageError: a margin names an unknown algorithm.
        """
        names = set(known)
        for text in self.by_algorithm:
            if address.parse(text).name not in names:
                raise unknown("algorithm in [margins]", address.parse(text).name, names)
