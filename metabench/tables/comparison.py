"""Comparison of two algorithms on a suite: the paired difference and its probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from metabench import address
from metabench.errors import NothingToRun, UsageError, unknown
from metabench.learner import Metric
from metabench.results.schema import Result
from metabench.statistics.intervals import EpisodeScores, mean_of, most_different, over_seeds
from metabench.statistics.paired_tests import difference
from metabench.tables import flags
from metabench.tables.aggregate import score_table
from metabench.tables.margins import DEFAULTS, Margin
from metabench.tables.rows import StoredResult


class EpisodePair(msgspec.Struct, frozen=True):
    """The scores of both algorithms on one episode, means over seeds."""

    episode: int  # in manifest order, from 0
    a: float
    b: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison; scores are fractions or mean squared errors, None is unknown."""

    suite: str
    budget: str
    metric: Metric
    a: str
    b: str
    score_a: float
    score_b: float
    seeds_a: int
    seeds_b: int
    episodes: int
    difference: float  # mean of A minus mean of B
    ci95: tuple[float, float] | None
    p: float | None  # two-sided p-value of the hypothesis of no difference
    margin: float
    better: float | None  # probability that A is better by more than the margin
    equivalent: float | None  # probability that the difference is within the margin
    worse: float | None  # probability that A is worse by more than the margin
    flags_a: list[str]  # flags that concern A's score
    flags_b: list[str]  # flags that concern B's score
    most_different: list[EpisodePair]  # the episodes that differ most, largest difference first


def compare(
    cells: Iterable[StoredResult],
    suite: str,
    a: str,
    b: str,
    budget: str | None = None,
    margin: Margin | None = None,
    device: str | None = None,
    train_on: str | None = None,
) -> Comparison:
    """Compare two algorithms by their stored results.

    Args:
        cells: results.
        suite: the name of the suite.
        a: the address of an algorithm, `name[param=value]`, as in tables.
        b: the address of the other algorithm.
        budget: the budget of both; None if there is only one.
        margin: differences up to this count as equal; None: the default of the metric.
        device: the device type of both; None if there is only one.
        train_on: the suite whose base data both were trained on; None for the suite itself,
            otherwise for the only one there is.

    Raises:
        NothingToRun: no scores on the suite.
        UsageError: an algorithm without a score, several budgets, or different episodes.
    """
    results = [cell.result for cell in cells if cell.result.suite.name == suite]
    results = [
        r
        for r in results
        if r.status == "ok"
        and budget in (None, r.job.budget)
        and device in (None, r.job.device)
        and train_on in (None, r.suite.train_on)
    ]
    if not results:
        asked = {"with budget": budget, "on device": device, "trained on": train_on}
        which = "".join(f" {words} {value}" for words, value in asked.items() if value)
        raise NothingToRun(f"no scores on {suite}{which}; `metabench status` lists all results")
    found_a, found_b = (_of(results, text) for text in (a, b))
    budgets_a, budgets_b = ({r.job.budget for r in side} for side in (found_a, found_b))
    budgets = sorted(budgets_a & budgets_b)
    if not budgets:
        raise UsageError(
            f"{a} was run at {', '.join(sorted(budgets_a))} and {b} at "
            f"{', '.join(sorted(budgets_b))}: run one of them at the other's budget"
        )
    if len(budgets) > 1:
        raise UsageError(f"{a} and {b} were both run at {', '.join(budgets)}: give --budget")
    ours, theirs = ([r for r in side if r.job.budget == budgets[0]] for side in (found_a, found_b))
    for what, digests in (
        ("episodes", {r.suite.episodes_digest for r in [*ours, *theirs]}),
        ("images", {r.suite.pixels_digest for r in [*ours, *theirs]}),
    ):
        if len(digests) > 1:
            raise UsageError(f"results on {suite} use different {what}: run the older ones again")
    tables = score_table(ours), score_table(theirs)
    episodes = min(table.shape[1] for table in tables)
    one, other = (table[:, :episodes] for table in tables)
    metric = ours[0].suite.metric
    margin = DEFAULTS[metric] if margin is None else margin
    margin.check(metric)
    return _compare(ours, theirs, one, other, margin.of(float(other.mean())))


def _of(results: Sequence[Result], text: str) -> list[Result]:
    """Return the newest result of each seed of one algorithm."""
    written = {r.job.address for r in results}
    found = [
        r
        for r in sorted(results, key=lambda r: r.created)
        if address.means(text, r.job.algorithm, r.job.params, r.job.chosen)
    ]
    if not found:
        raise unknown(
            "algorithm", text, written, "Only algorithms with a score on the suite can be compared."
        )
    own = [r for r in found if r.suite.train_on is None] or found
    kinds = sorted(
        {f"{r.job.device}, trained on {r.suite.train_on or 'the suite itself'}" for r in own}
    )
    if len(kinds) > 1:  # no table mixes them either
        raise UsageError(
            f"{text} has several kinds of results ({'; '.join(kinds)}): give --device or --train-on"
        )
    return list({(r.job.budget, r.job.seed): r for r in own}.values())


def _compare(
    ours: Sequence[Result],
    theirs: Sequence[Result],
    a: EpisodeScores,
    b: EpisodeScores,
    margin: float,
) -> Comparison:
    found = difference(a, b)
    suite, job, other = ours[0].suite, ours[0].job, theirs[0].job
    worse, better = found.probability_below(-margin), found.probability_above(margin)
    if suite.metric == "mse":
        worse, better = better, worse
    known = bool(np.isfinite(found.se))
    by_episode = over_seeds(a), over_seeds(b)
    return Comparison(
        suite=suite.name,
        budget=job.budget,
        metric=suite.metric,
        a=job.address,
        b=other.address,
        score_a=mean_of(a),
        score_b=mean_of(b),
        seeds_a=len(a),
        seeds_b=len(b),
        episodes=a.shape[1],
        difference=found.mean,
        ci95=(found.lo, found.hi) if known else None,
        p=None if np.isnan(found.p) else found.p,
        margin=margin,
        better=better if known else None,
        equivalent=max(0.0, 1 - better - worse) if known else None,
        worse=worse if known else None,
        flags_a=flags.of_scores(ours),
        flags_b=flags.of_scores(theirs),
        most_different=[
            EpisodePair(k, float(by_episode[0][k]), float(by_episode[1][k]))
            for k in most_different(*by_episode)
        ],
    )
