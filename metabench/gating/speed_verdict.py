"""The verdict of the speed gate on one case."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from metabench.gating.duel_ratios import PhaseRatio
from metabench.statistics.non_inferiority import Verdict


class SpeedGated(msgspec.Struct, frozen=True, kw_only=True):
    """One algorithm on one suite, timed against an older version of its code."""

    suite: str
    algorithm: str
    budget: str
    verdict: Verdict
    reason: str = ""
    phases: list[PhaseRatio] = []  # a: current code, b: older code


def speed_verdict(phases: Sequence[PhaseRatio], margin: float) -> tuple[Verdict, str]:
    """Judge a duel between the current code and an older version.

    - fail: the whole 95 % interval of a phase is beyond the margin, or a phase is new;
    - pass: the 95 % intervals of all phases are within the margin;
    - inconclusive: otherwise; more rounds are needed.

    Args:
        phases: ratios of the current code's times to those of the older version.
        margin: how much slower the current code may be: 0.1 is 10 %.

    Returns:
        The verdict and its reason.
    """
    limit = 1 + margin
    known = [(phase.phase, phase.ci95) for phase in phases if phase.ci95 is not None]
    slower = [name for name, (low, _) in known if low > limit]
    unclear = [name for name, (_, high) in known if high > limit]
    new = [phase.phase for phase in phases if phase.a_s and phase.b_s is None]
    if new:
        return "fail", f"the older version has no such phase: {', '.join(new)}"
    if slower:
        return "fail", f"slower by more than {margin:.0%}: {', '.join(slower)}"
    if not known:
        return "inconclusive", "no phase could be compared"
    if unclear:
        return "inconclusive", f"more rounds are needed: {', '.join(unclear)}"
    return "pass", ""
