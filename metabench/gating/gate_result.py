"""The verdict of the gate on one case, with the difference and the episodes that changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from metabench.gating.baseline import Case
from metabench.gating.provenance import differences
from metabench.gating.replay_verdict import same_scores
from metabench.learner import Metric
from metabench.results.schema import Result, scored_blocks
from metabench.statistics.intervals import EpisodeScores, most_different
from metabench.statistics.non_inferiority import (
    ALPHA,
    FEWEST_SEEDS,
    Verdict,
    fewest_episodes,
    judge,
)
from metabench.tables.margins import Margins


class Flip(msgspec.Struct, frozen=True):
    """An episode whose score changed; scores are means over seeds."""

    block: int
    episode: int  # in manifest order, from 0
    baseline: float
    now: float


class Gated(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one algorithm on one suite.

    Scores are fractions or mean squared errors; None is unknown.
    """

    suite: str
    algorithm: str  # its address
    budget: str
    metric: Metric
    verdict: Verdict
    reason: str = ""  # one line
    equal: bool = False  # all outputs are equal to the last bit
    seeds: int
    looks: int = 0
    episodes: int = 0
    baseline: float | None = None
    now: float | None = None
    difference: float | None = None  # now minus baseline
    ci: tuple[float, float] | None = None
    level: float | None = None  # of the interval
    margin: float | None = None
    differs: list[str] = []  # in code and environment
    flipped: list[Flip] = []  # most different first
    files: list[str] = []  # of the baseline
    final: bool = True  # no further look is possible or needed


def outcome(
    case: Case, new: Sequence[Result | None], look: int, margins: Margins, frozen: bool
) -> Gated:
    """Compare the new results of a case with its baseline.

    Args:
        case: the baseline's results by seed.
        new: new results of the same cells, with scores of at least `look + 1` blocks; None where
            there is no result.
        look: number of the look, from 0.
        margins: how much worse it may be.
        frozen: the learners are the baseline's own, not a sample of all learners.
    """
    scored = [result for result in new if result is not None and result.scores is not None]
    if len(scored) < len(new):
        return failed(case, _why(new))
    first, metric = case.old[0], case.old[0].suite.metric
    before, after = _scores(case.old, look + 1), _scores(scored, look + 1)
    if before.shape != after.shape:
        return failed(case, "the baseline has a different number of episodes")
    sign = -1 if metric == "mse" else 1
    gains = sign * (after - before)
    if frozen:
        gains = gains.mean(axis=0, keepdims=True)
    baseline, now = float(before.mean()), float(after.mean())
    margin = margins.of_result(first).of(baseline)
    # The largest loss of an episode: all right answers, or an error as large as the baseline's.
    worst = baseline if metric == "mse" else 1.0
    seen = judge(gains, margin, look, case.looks, worst)
    verdict, reason = seen.verdict, _REASONS[seen.verdict]
    if verdict == "inconclusive" and seen.lo >= -margin:
        reason = "a margin of 0 needs equal outputs"
        if margin:
            reason = f"this margin needs {math.ceil(fewest_episodes(margin, worst)):,} episodes"
    equal = look == 0 and _equal_outputs(case.old, scored)
    if equal and not same_scores(before, after):
        return failed(case, "outputs are equal but scores differ: the baseline was altered")
    varies = first.job.training is not None and first.job.deterministic is not True
    too_few_seeds = varies and not frozen and len(new) < FEWEST_SEEDS
    if equal:
        verdict, reason = "pass", "all outputs are equal"
    elif too_few_seeds:  # because seeds vary
        verdict = "inconclusive"
        reason = f"meta-training needs {FEWEST_SEEDS} seeds, the baseline has {len(new)}"
    elif verdict == "fail" and seen.hi >= -margin:
        reason = "shown to be worse, and not shown to be within the margin"
    elif verdict == "pass" and seen.hi < 0:
        reason = "worse, but within the margin"
    bounds = sorted((sign * seen.lo, sign * seen.hi))
    return msgspec.structs.replace(
        failed(case, reason),
        verdict=verdict,
        equal=equal,
        looks=look + 1,
        episodes=gains.shape[1],
        baseline=baseline,
        now=now,
        difference=now - baseline,
        ci=(bounds[0], bounds[1]) if np.isfinite(bounds).all() else None,
        level=1 - 2 * ALPHA / case.looks,
        margin=margin,
        differs=_differing(case.old, scored),
        flipped=_flips(before, after, len(first.per_episode())),
        final=verdict != "inconclusive" or too_few_seeds or look + 1 >= case.looks,
    )


_REASONS: dict[Verdict, str] = {
    "pass": "",
    "fail": "worse than the margin allows",
    "inconclusive": "too few episodes to decide",
}


def failed(case: Case, why: str) -> Gated:
    """Return the verdict on a case without scores to compare."""
    first = case.old[0]
    return Gated(
        suite=first.suite.name,
        algorithm=first.job.address,
        budget=first.job.budget,
        metric=first.suite.metric,
        verdict="error",
        reason=why,
        seeds=len(case.stored),
        files=[path.as_posix() for path, _ in case.stored],
    )


def _why(new: Sequence[Result | None]) -> str:
    """Return why the first result without scores has none."""
    for result in new:
        if result is not None and result.failure is not None:
            return f"{result.status}: {result.failure.reason}"
    return "a cell has no result"


def _scores(results: Sequence[Result], blocks: int) -> EpisodeScores:
    """Return scores [S, E] over the first blocks of episodes, one row per seed."""
    rows = []
    for result in results:
        parts = [scores.per_episode() for scores in scored_blocks(result)[:blocks]]
        rows.append(np.concatenate(parts))
    return np.array(rows)


def _equal_outputs(old: Sequence[Result], new: Sequence[Result]) -> bool:
    """Return whether every seed's outputs on the first block are equal to the last bit."""
    return all(
        one.scores is not None
        and other.scores is not None
        and one.scores.outputs_digest == other.scores.outputs_digest
        for one, other in zip(old, new, strict=True)
    )


def _flips(before: EpisodeScores, after: EpisodeScores, block_size: int) -> list[Flip]:
    """Return the episodes whose mean score over seeds differs most."""
    one, other = before.mean(axis=0), after.mean(axis=0)
    return [
        Flip(k // block_size, k % block_size, float(one[k]), float(other[k]))
        for k in most_different(one, other)
    ]


def _differing(old: Sequence[Result], new: Sequence[Result]) -> list[str]:
    """List what differs between baseline and now for any seed, each difference once."""
    pairs = zip(old, new, strict=True)
    return list(dict.fromkeys(line for one, other in pairs for line in differences(one, other)))
