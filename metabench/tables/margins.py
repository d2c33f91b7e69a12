"""How much worse an algorithm may get before the gate minds."""

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

_LARGEST = 0.1  # plain number for an accuracy: 0.5 is not meant to be 50 points

_UNITS: tuple[tuple[str, Literal["points", "relative"]], ...] = (
    ("pp", "points"),
    ("%", "relative"),
)


@dataclass(frozen=True)
class Margin:
    """A loss that is put up with.

    Attributes:
        text: as it was written.
        amount: a fraction: 0.005 for "0.5pp" and for "0.005", 0.05 for "5%".
        unit: "points" of accuracy, "relative" to the baseline's score, or "absolute" in the
            units of the metric: a fraction, or a squared error.
    """

    text: str
    amount: float
    unit: Literal["points", "relative", "absolute"]

    @classmethod
    def parse(cls, text: str) -> Margin:
        """Read "0.5pp", "5%" or "0.005".

        Raises:
            UsageError: it is none of these, or negative.
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
        """Squared errors have no points."""
        return self.unit != "points" or metric == "accuracy"

    def of(self, baseline: float) -> float:
        """In the units of the metric, for a baseline's mean score."""
        return self.amount * baseline if self.unit == "relative" else self.amount


DEFAULTS: Mapping[Metric, Margin] = {
    "accuracy": Margin.parse("0.5pp"),
    "mse": Margin.parse("5%"),
}


@dataclass(frozen=True)
class Margins:
    """Which margin holds for which algorithm.

    Attributes:
        given: for all of them, as by `--margin`.
        by_algorithm: by name, or by address for one set of parameters.
    """

    given: Margin | None = None
    by_algorithm: Mapping[str, Margin] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: str | None, by_algorithm: Mapping[str, str]) -> Margins:
        """Read what the command line and `bench.toml` say.

        Raises:
            UsageError: one of them is no margin.
        """
        return cls(
            None if given is None else Margin.parse(given),
            {name: Margin.parse(text) for name, text in by_algorithm.items()},
        )

    def of(self, algorithm: str, params: Mapping[str, Value], metric: Metric) -> Margin:
        """The first that applies: the one given, the most special of this algorithm's, the default.

        Args:
            algorithm: its name.
            params: all of its parameters.
            metric: of the suite.

        Raises:
            UsageError: it is a plain number that can hardly be meant.
        """
        named = [
            (len(address.parse(text).params), margin)
            for text, margin in self.by_algorithm.items()
            if address.means(text, algorithm, params, {})
        ]
        special = [margin for _, margin in sorted(named, key=lambda one: -one[0])]
        for margin in (self.given, *special):
            if margin is not None and margin.applies(metric):
                if metric == "accuracy" and margin.unit == "absolute" and margin.amount >= _LARGEST:
                    raise UsageError(
                        f"margin '{margin.text}' is {100 * margin.amount:g} points of accuracy: "
                        f"write {margin.text}pp or {100 * margin.amount:g}pp"
                    )
                return margin
        return DEFAULTS[metric]

    def of_result(self, result: Result) -> Margin:
        """That of a stored result's algorithm."""
        job = result.job
        return self.of(job.algorithm, {**job.params, **job.chosen}, result.suite.metric)

    def check(self, known: Iterable[str]) -> None:
        """Refuse margins for what is no algorithm.

        Args:
            known: the names of all algorithms there are.

        Raises:
            UsageError: one is none of them.
        """
        names = set(known)
        for text in self.by_algorithm:
            if address.parse(text).name not in names:
                raise unknown("algorithm in [margins]", address.parse(text).name, names)
