"""Whether two versions of the code, timed against each other, are equally quick."""

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
    phases: list[PhaseRatio] = []  # a is now, b is then


def speed_verdict(phases: Sequence[PhaseRatio], margin: float) -> tuple[Verdict, str]:
    """The verdict on a duel, and why.

    - fail: a phase is slower by more than the margin, with all of its 95 % interval, or is new;
    - pass: no phase may be, by its interval;
    - inconclusive: neither; more rounds are needed.

    Args:
        phases: how many times as long the present code takes as the older.
        margin: how much slower it may be: 0.1 is 10 %.
    """
    limit = 1 + margin
    known = [(phase.phase, phase.ci95) for phase in phases if phase.ci95 is not None]
    slower = [name for name, (low, _) in known if low > limit]
    unclear = [name for name, (_, high) in known if high > limit]
    new = [phase.phase for phase in phases if phase.a_s and phase.b_s is None]
    if new:
        return "fail", f"took no time then: {', '.join(new)}"
    if slower:
        return "fail", f"slower by more than {margin:.0%}: {', '.join(slower)}"
    if unclear or not known:
        return "inconclusive", f"more rounds are needed: {', '.join(unclear)}"
    return "pass", ""
