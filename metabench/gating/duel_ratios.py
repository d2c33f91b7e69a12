"""The outcome of a duel: for each phase, the ratio of the two learners' times."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec
import numpy as np

from metabench.gating.duel_rounds import PHASES, Round
from metabench.statistics.intervals import mean_ci


class PhaseRatio(msgspec.Struct, frozen=True, kw_only=True):
    """The times of one phase; None where a learner has no such phase."""

    phase: str
    a_s: float | None  # seconds, median over rounds of each round's median
    b_s: float | None
    ratio: float | None = None  # a / b, geometric mean over rounds
    ci95: tuple[float, float] | None = None
    ratios: list[float] = []  # of each round


def phase_ratios(rounds: Sequence[Round]) -> list[PhaseRatio]:
    """Compute the paired ratio of each phase with its 95 % confidence interval.

    The unit is the round, one fresh pair of processes: disturbances of the machine during a
    round affect both medians. The interval is Student's t over the logarithms of their ratios.
    """
    return [_phase(phase, rounds) for phase in PHASES]


def _phase(phase: str, rounds: Sequence[Round]) -> PhaseRatio:
    medians = [[_median(side.samples(phase)) for side in sides] for sides in rounds]
    a, b = ([pair[side] for pair in medians] for side in (0, 1))
    a_s, b_s = _median([x for x in a if x is not None]), _median([x for x in b if x is not None])
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x and y]
    if not pairs:
        return PhaseRatio(phase=phase, a_s=a_s, b_s=b_s)
    ratios = [x / y for x, y in pairs]
    estimate = mean_ci(np.log(ratios))
    known = np.isfinite(estimate.lo)
    return PhaseRatio(
        phase=phase,
        a_s=a_s,
        b_s=b_s,
        ratio=float(np.exp(estimate.mean)),
        ci95=(float(np.exp(estimate.lo)), float(np.exp(estimate.hi))) if known else None,
        ratios=ratios,
    )


def _median(samples: Sequence[float]) -> float | None:
    return median(samples) if samples else None
