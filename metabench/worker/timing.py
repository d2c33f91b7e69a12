"""Times of adapt and predict, sampled until their medians can be trusted.

There are two modes, which are never mixed: latency, one task at a time with both phases timed
separately, and throughput, blocks of many tasks. Everything runs in the learner process, on data
that is already on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from metabench.garbage import no_gc
from metabench.learner import BatchedLearner, Support
from metabench.worker.clock import now, synchronize

_WINDOW = 5  # samples behind each of the two medians that end the warm-up
_AGREE = 0.05  # their relative difference then
_STEADY = 0.05  # IQR / median at which sampling ends
_NOTHING = 1e-6  # seconds: times this close count as equal; Python calls alone differ by as much
_MIN_STEADY, _MAX_SAMPLES = 20, 1000  # samples
_MIN_SAMPLES = 3  # samples, even if they exceed the time limit


class TimedBlock(NamedTuple):
    """T test episodes on the device: x [T, S, *shape], y [T, S], queries [T, Q, *shape]."""

    support: Support
    query_x: Tensor


Phases = tuple[float, ...]  # seconds of each phase
TimedCall = Callable[[int], Phases]  # call number k = 0, 1, ... -> its times


def time_phases(learner: BatchedLearner, block: TimedBlock) -> Phases:
    """Time adapt and predict separately, in seconds, the device idle before and after each."""
    device = learner.task.device
    with no_gc():
        synchronize(device)
        start = now()
        state = learner.adapt(block.support)
        synchronize(device)
        adapted = now()
        learner.predict(state, block.query_x)
        synchronize(device)
        predicted = now()
    return adapted - start, predicted - adapted


def time_both(learner: BatchedLearner, block: TimedBlock) -> Phases:
    """Time adapt and predict together, in seconds, without waiting in between."""
    device = learner.task.device
    with no_gc():
        synchronize(device)
        start = now()
        learner.predict(learner.adapt(block.support), block.query_x)
        synchronize(device)
        return (now() - start,)


def warm_up(run: TimedCall, seconds: float) -> int:
    """Run until the times no longer fall, and return the number of runs.

    Warm-up ends when the medians of two successive windows of five samples agree within 5 %, or
    a microsecond, in every phase, or when the time is over.
    """
    found: list[Phases] = []
    start = now()
    while not _settled(found) and (now() - start < seconds or not found):
        found.append(run(len(found)))
    return len(found)


def sample(run: TimedCall, seconds: float) -> list[Phases]:
    """Sample until the spread is small: 20 samples with IQR / median <= 5 % in every phase.

    A phase that is over at once, such as an `adapt` that only returns the support set, would
    never get there: an IQR of a microsecond also counts as small. Sampling ends too after 1000
    samples, or when the time is over, but not before three samples.
    """
    found: list[Phases] = []
    start = now()
    while len(found) < _MIN_SAMPLES or (
        len(found) < _MAX_SAMPLES and now() - start < seconds and not _steady(found)
    ):
        found.append(run(len(found)))
    return found


def _settled(samples: list[Phases]) -> bool:
    # Checked once per window, so that medians are not compared until they agree by chance.
    if len(samples) < 2 * _WINDOW or len(samples) % _WINDOW:
        return False
    before, last = (
        np.median(samples[at : at + _WINDOW], axis=0)
        for at in (len(samples) - 2 * _WINDOW, len(samples) - _WINDOW)
    )
    return bool((np.abs(last - before) <= np.maximum(_AGREE * before, _NOTHING)).all())


def _steady(samples: list[Phases]) -> bool:
    if len(samples) < _MIN_STEADY or len(samples) % _WINDOW:
        return False
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75), axis=0)
    return bool((high - low <= np.maximum(_STEADY * median, _NOTHING)).all())
