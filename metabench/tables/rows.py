"""Leaderboard rows: the results of all seeds of one algorithm, combined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from metabench.address import Value
from metabench.plugins.staleness import CodeState
from metabench.results.schema import Result, Status, Training
from metabench.statistics.intervals import Estimate, mean_ci, mean_of, spreads
from metabench.tables import flags
from metabench.tables.aggregate import (
    calibration,
    cold_ms,
    commits,
    contended,
    episodes_per_s,
    finite,
    inductive,
    machine,
    macro_f1,
    mean,
    median_ms,
    p95_ms,
    peak_mib,
    rate,
    score_table,
)


class StoredResult(NamedTuple):
    """A result with its file, relative to the results folder, and the state of its code."""

    file: Path | None
    result: Result
    code: CodeState = "current"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a leaderboard; None is unknown.

    Field names are part of the contract of `leaderboard --json`: fields may be added, never
    renamed.
    """

    rank: int | None = None  # 1 is best; rows of equal score share a rank
    tier: int | None = None  # its rows cannot be distinguished from the first by paired tests
    rank_interval: tuple[int, int] | None = None  # covers 95 % of bootstrap draws
    algorithm: str
    params: dict[str, Value]  # every parameter, defaults included
    budget: str
    status: Status  # ok if any seed has a score
    score: float | None = None  # mean accuracy as a fraction, or mean squared error
    ci95: tuple[float, float] | None = None
    sd_seeds: float | None = None  # standard deviation between seeds; needs several
    sd_episodes: float | None = None  # standard deviation between episodes
    macro_f1: float | None = None
    nll: float | None = None  # negative log-likelihood in nats, mean over seeds
    brier: float | None = None  # 0 to 2
    ece: float | None = None  # expected calibration error, 0 to 1
    seeds: int  # number of seeds with a score
    episodes: int  # number of scored episodes per seed
    inductive: bool | None = None  # measured: answers do not depend on other queries
    flags: list[str]
    fit_s: float | None = None  # seconds of meta-training, mean over seeds
    updates: int | None = None  # of meta-training, the largest number of any seed
    updates_per_s: float | None = None  # of meta-training
    tasks_per_s: float | None = None
    adapt_ms: float | None = None  # one task at a time; median over the samples of all seeds
    adapt_p95_ms: float | None = None
    predict_ms: float | None = None
    predict_p95_ms: float | None = None
    cold_ms: float | None = None  # the very first adapt and predict; median over seeds
    episodes_per_s: float | None = None  # many tasks at a time; median over blocks
    peak_mib: float | None = None  # memory of the phase that needs most, in any seed
    parameters: int | None = None  # learnable numbers
    device: str  # device type
    pareto: bool | None = None  # no row is better in both score and adapt + predict
    commit: str | None = None
    files: list[str]  # relative to the results folder
    provider: str  # the plugin that provides the algorithm
    address: str  # the algorithm with the parameters that differ from its defaults
    reason: str | None = None  # why the first seed without a score has none
    training: Training | None = None  # the shape of its training episodes
    train_on: str | None = None  # the suite whose base data was used, if not this one
    pixels_digest: str


def identity(result: Result) -> tuple[object, ...]:
    """Return what all seeds of a row have in common, within a table."""
    job = result.job
    return (job.algorithm, tuple(sorted(job.chosen.items())), job.device, result.suite.train_on)


def build_row(cells: Sequence[StoredResult], timed_on: str | None) -> Row:
    """Return a row that has no rank yet.

    Args:
        cells: one for each seed, at least one, with the same identity.
        timed_on: the machine whose times the table shows.
    """
    results = [cell.result for cell in cells]
    ok = [r for r in results if r.status == "ok"]
    scores = score_table(ok)
    estimate = mean_ci(scores) if scores.size else None
    spread = spreads(scores)
    alone = [r for r in ok if not contended(r) and machine(r) == timed_on]
    timings = [r.timing for r in alone if r.timing is not None]
    # Training that was resumed took place in several processes, perhaps on several machines.
    trained = [r.training for r in alone if r.training is not None and not r.training.resumed]
    shown = ok[0] if ok else min(results, key=_gravity)
    job = shown.job
    return Row(
        algorithm=job.algorithm,
        params=job.params,
        budget=job.budget,
        status=shown.status,
        score=finite(mean_of(scores)),
        ci95=_interval(estimate),
        sd_seeds=finite(spread.seeds),
        sd_episodes=finite(spread.episodes),
        macro_f1=macro_f1(ok, scores.shape[1]),
        nll=calibration(ok, "nll"),
        brier=calibration(ok, "brier"),
        ece=calibration(ok, "ece"),
        seeds=len(ok),
        episodes=scores.shape[1],
        inductive=inductive(ok),
        flags=[*flags.of_cells(results, timed_on), *flags.of_code(cell.code for cell in cells)],
        fit_s=mean(training.seconds for training in trained),
        updates=max((r.training.updates for r in ok if r.training is not None), default=None),
        updates_per_s=rate((t.updates, t.seconds) for t in trained),
        tasks_per_s=rate((t.tasks, t.seconds) for t in trained),
        adapt_ms=median_ms(sample for timing in timings for sample in timing.adapt_s),
        predict_ms=median_ms(sample for timing in timings for sample in timing.predict_s),
        adapt_p95_ms=p95_ms(sample for timing in timings for sample in timing.adapt_s),
        predict_p95_ms=p95_ms(sample for timing in timings for sample in timing.predict_s),
        cold_ms=cold_ms(alone),
        episodes_per_s=episodes_per_s(timings),
        peak_mib=peak_mib(ok),
        parameters=shown.parameters,
        device=job.device,
        commit=commits(results),
        files=[cell.file.as_posix() for cell in cells if cell.file is not None],
        provider=job.provider,
        address=job.address,
        reason=_reason(results),
        training=job.training,
        train_on=shown.suite.train_on,
        pixels_digest=shown.suite.pixels_digest,
    )


def _gravity(result: Result) -> int:
    """Return a sort key for cells without a score: failures first."""
    return {"interrupted": 1, "not_applicable": 2}.get(result.status, 0)


def _interval(estimate: Estimate | None) -> tuple[float, float] | None:
    if estimate is None or finite(estimate.se) is None:
        return None
    return (estimate.lo, estimate.hi)


def _reason(results: Sequence[Result]) -> str | None:
    """Return the first reason for a missing score, on one line, with the status."""
    for result in sorted((r for r in results if r.status != "ok"), key=_gravity):
        why = result.failure.reason if result.failure is not None else ""
        return " ".join(f"{result.status}: {why}".split()).removesuffix(":")
    return None
