"""Leaderboard rows: what the seeds of one algorithm say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from metabench import address
from metabench.address import Value
from metabench.analysis import flags
from metabench.analysis.aggregate import (
    commits,
    contended,
    finite,
    machine,
    macro_f1,
    mean,
    median_ms,
    score_table,
)
from metabench.analysis.stats import Estimate, mean_ci
from metabench.results.schema import Result, Status, Training


class Cell(NamedTuple):
    """A result, and the file it was read from, relative to the results folder."""

    file: Path | None
    result: Result


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a leaderboard; None is unknown.

    The names are a contract with readers of `leaderboard --json`: fields may be added, never
    renamed.
    """

    rank: int | None = None  # 1 is best; rows of equal score share a rank
    tier: int | None = None
    algorithm: str
    params: dict[str, Value]  # every parameter, resolved
    budget: str
    status: Status  # ok if any seed has a score
    score: float | None = None  # mean accuracy as a fraction, or mean squared error
    ci95: tuple[float, float] | None = None
    macro_f1: float | None = None
    seeds: int  # that have a score
    episodes: int  # scored, per seed
    inductive: bool | None = None
    flags: list[str]
    fit_s: float | None = None  # meta-training, mean over seeds
    adapt_ms: float | None = None  # one task at a time; median over the samples of all seeds
    predict_ms: float | None = None
    episodes_per_s: float | None = None  # many tasks at a time
    peak_mib: float | None = None
    parameters: int | None = None  # learnable numbers
    device: str  # device type
    commit: str | None = None
    files: list[str]  # relative to the results folder
    provider: str  # the plugin that provides the algorithm
    address: str  # the algorithm with the parameters that differ from its defaults
    reason: str | None = None  # why all seeds, or some, have no score
    training: Training | None = None  # the shape of its training episodes
    train_on: str | None = None  # the suite whose base data was used, if another
    pixels_digest: str


def identity(result: Result) -> tuple[object, ...]:
    """What the seeds of one row have in common, within one table."""
    job = result.job
    return (job.algorithm, tuple(sorted(job.chosen.items())), job.device, result.suite.train_on)


def build_row(cells: Sequence[Cell], timed_on: str | None) -> Row:
    """One row, not ranked yet.

    Args:
        cells: one a seed, at least one, of one identity.
        timed_on: the machine whose times the table shows.
    """
    results = [cell.result for cell in cells]
    ok = [r for r in results if r.status == "ok"]
    scores = score_table(ok)
    estimate = mean_ci(scores) if scores.size else None
    timings = [r.timing for r in ok if not contended(r) and machine(r) == timed_on and r.timing]
    seconds = sum(timing.throughput_s for timing in timings)
    shown = ok[0] if ok else min(results, key=_gravity)
    job = shown.job
    return Row(
        algorithm=job.algorithm,
        params=job.params,
        budget=job.budget,
        status=shown.status,
        score=finite(estimate.mean) if estimate else None,
        ci95=_interval(estimate),
        macro_f1=macro_f1(ok, scores.shape[1]),
        seeds=len(ok),
        episodes=scores.shape[1],
        flags=flags.of_cells(results, timed_on),
        fit_s=mean(r.training.seconds for r in ok if r.training is not None),
        adapt_ms=median_ms(sample for timing in timings for sample in timing.adapt_s),
        predict_ms=median_ms(sample for timing in timings for sample in timing.predict_s),
        episodes_per_s=sum(t.throughput_episodes for t in timings) / seconds if seconds else None,
        parameters=shown.parameters,
        device=job.device,
        commit=commits(results),
        files=[cell.file.as_posix() for cell in cells if cell.file is not None],
        provider=job.provider,
        address=address.write(job.algorithm, job.chosen),
        reason=_reason(results),
        training=job.training,
        train_on=shown.suite.train_on,
        pixels_digest=shown.suite.pixels_digest,
    )


def _gravity(result: Result) -> int:
    """Orders cells without a score: a failure tells most."""
    return {"interrupted": 1, "not_applicable": 2}.get(result.status, 0)


def _interval(estimate: Estimate | None) -> tuple[float, float] | None:
    if estimate is None or finite(estimate.se) is None:
        return None
    return (estimate.lo, estimate.hi)


def _reason(results: Sequence[Result]) -> str | None:
    """The first reason why there is no score, on one line, with its status."""
    for result in sorted((r for r in results if r.status != "ok"), key=_gravity):
        why = result.failure.reason if result.failure is not None else ""
        return " ".join(f"{result.status}: {why}".split()).removesuffix(":")
    return None
