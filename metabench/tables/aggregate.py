"""Single numbers from the results of several seeds; None if unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Literal

import numpy as np
import numpy.typing as npt

from metabench.results.schema import Result, Timing
from metabench.supervisor.environment import ALLOCATOR


def score_table(results: Sequence[Result]) -> npt.NDArray[np.float64]:
    """Return scores [S, E], one row per seed, for the first E episodes that all seeds scored."""
    scores = [result.per_episode() for result in results]
    episodes = min((len(row) for row in scores), default=0)
    return np.array([row[:episodes] for row in scores]).reshape(len(scores), episodes)


def macro_f1(results: Sequence[Result], episodes: int) -> float | None:
    """Return the mean macro-F1 over seeds and their first `episodes` episodes."""
    per_seed = [r.scores.f1 for r in results if r.scores is not None and r.scores.f1 is not None]
    return mean(value for f1 in per_seed for value in f1[:episodes])


def calibration(results: Sequence[Result], name: Literal["nll", "brier", "ece"]) -> float | None:
    """Return a measure of calibration, the mean over seeds; None unless all seeds have it."""
    found = [None if r.scores is None else r.scores.calibration for r in results]
    known = [one for one in found if one is not None]
    return mean(getattr(one, name) for one in known) if len(known) == len(found) else None


def mean(values: Iterable[float]) -> float | None:
    """Return the mean; None for no values."""
    found = list(values)
    return fmean(found) if found else None


def median_ms(seconds: Iterable[float]) -> float | None:
    """Return the median, in milliseconds, of samples in seconds."""
    found = list(seconds)
    return 1000 * median(found) if found else None


def p95_ms(seconds: Iterable[float]) -> float | None:
    """Return the 95th percentile, in milliseconds, of samples in seconds."""
    found = list(seconds)
    return 1000 * float(np.quantile(found, 0.95)) if found else None


def rate(counted: Iterable[tuple[int, float]]) -> float | None:
    """Return a rate per second from pairs of a number and the seconds it took."""
    pairs = list(counted)
    seconds = sum(s for _, s in pairs)
    return finite(sum(n for n, _ in pairs) / seconds) if seconds else None


def episodes_per_s(timings: Iterable[Timing]) -> float | None:
    """Return test episodes per second in throughput mode, the median over blocks of tasks."""
    rates = [t.throughput_episodes / s for t in timings for s in t.throughput_s if s > 0]
    return finite(median(rates)) if rates else None


def peak_mib(results: Iterable[Result]) -> float | None:
    """Return the memory of the phase that needed most, in MiB."""
    peaks: list[int] = []
    for result in results:
        trained = None if result.training is None else result.training.peak_memory
        tested = (result.memory.adapt, result.memory.predict) if result.memory else ()
        peaks += [peak for peak in (trained, *tested) if peak]
    return max(peaks) / 2**20 if peaks else None


def finite(value: float) -> float | None:
    """Return the value; None if it is NaN or infinite, which JSON cannot represent."""
    return value if math.isfinite(value) else None


def cold_ms(results: Iterable[Result]) -> float | None:
    """Return the median time of the very first adapt and predict, in milliseconds.

    Results with validation are left out: it adapts and predicts before the time is taken.
    """
    return median_ms(
        result.timing.cold_s
        for result in results
        if result.timing is not None and not _validated(result)
    )


def _validated(result: Result) -> bool:
    curve = [] if result.training is None else result.training.curve
    return any("validation" in point.values for point in curve)


def inductive(results: Iterable[Result]) -> bool | None:
    """Return whether no seed's answers depend on other queries; None if not measured for all."""
    measured = [None if r.properties is None else r.properties.inductive for r in results]
    if False in measured:
        return False
    return None if None in measured or not measured else True


def says_transductive(result: Result) -> bool:
    """Return whether the algorithm declares that it is transductive, or its backbone implies it."""
    return result.job.transductive or "bn=episode" in str(result.job.params.get("backbone"))


def contended(result: Result) -> bool:
    """Return whether the cell shared its machine while it ran."""
    return result.environment is not None and result.environment.contended


def machine(result: Result) -> str | None:
    """Return what determines speed, in words; times are compared only if it is equal."""
    env = result.environment
    if env is None:
        return None
    parts = [
        env.device_name,
        env.cpu,
        f"{env.cores} core{'s' * (env.cores != 1)}",
        f"{env.threads} thread{'s' * (env.threads != 1)}",
        f"torch {env.packages['torch']}" if "torch" in env.packages else None,
        _allocator(env.allocator),
    ]
    return ", ".join(part for part in parts if part)


def _allocator(settings: Mapping[str, str]) -> str | None:
    """Return the memory allocator's settings; None for the usual ones."""
    if settings == ALLOCATOR:
        return None
    shown = " ".join(f"{name}={value}" for name, value in sorted(settings.items()))
    return shown or "plain allocator"


def commits(results: Iterable[Result]) -> str | None:
    """Return the first seven characters of every commit that the results were made at."""
    found = {r.environment.commit[:7] for r in results if r.environment and r.environment.commit}
    return ", ".join(sorted(found)) or None
