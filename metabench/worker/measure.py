"""Times and memory of one learner, measured in its own process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

from metabench.cell.messages import Batch
from metabench.learner import Learner, Support
from metabench.results.schema import Timing
from metabench.worker import memory, timing
from metabench.worker.answering import as_batched, to_float
from metabench.worker.batch_halving import BatchHalving
from metabench.worker.clock import synchronize
from metabench.worker.cold_start import Audit
from metabench.worker.timing import Phases, TimedBlock, TimedCall, time_both, time_phases


class Peaks(NamedTuple):
    """Peak memory in bytes while one task is adapted to and predicted; None: unknown."""

    adapt: int | None
    predict: int | None


class _Timed(NamedTuple):
    samples: list[Phases]
    warmup: int
    cold: list[str]
    waited: float | None


def measure_times(
    learner: Learner, staged: TimedBlock, seconds: float, tasks: int, halving: BatchHalving
) -> Timing:
    """Time a trained learner that has not seen a test episode yet.

    Args:
        learner: the learner.
        staged: at least `tasks` test episodes on its device.
        seconds: time limit of warm-up and of sampling, in each mode.
        tasks: number of tasks in one block of the throughput mode.
        halving: halves the block if it does not fit into memory.
    """
    batched, device = as_batched(learner), learner.task.device
    one = list(_blocks(staged, 1))
    cold = time_phases(batched, one[0])
    single = _timed(lambda k: time_phases(batched, one[(k + 1) % len(one)]), seconds, device)

    def throughput(tasks: int) -> tuple[int, _Timed]:
        many = list(_blocks(staged, tasks))
        timed = _timed(lambda k: time_both(batched, many[k % len(many)]), seconds, device)
        return tasks, timed

    tasks, block = halving.run(throughput, tasks)
    waited = [timed.waited for timed in (single, block) if timed.waited is not None]
    return Timing(
        cold_s=sum(cold),
        warmup=single.warmup,
        adapt_s=_nanoseconds(adapt for adapt, _ in single.samples),
        predict_s=_nanoseconds(predict for _, predict in single.samples),
        throughput_s=_nanoseconds(both for (both,) in block.samples),
        throughput_episodes=tasks,
        cold=sorted({*single.cold, *block.cold}),
        waited=max(waited, default=None),
    )


def measure_peaks(learner: Learner, block: TimedBlock) -> Peaks:
    """Measure the peak memory of one more task, outside the timing, which it would disturb."""
    batched, device = as_batched(learner), learner.task.device
    memory.reset_peak(device)
    state = batched.adapt(block.support)
    synchronize(device)
    adapt = memory.peak(device)
    memory.reset_peak(device)
    batched.predict(state, block.query_x)
    synchronize(device)
    return Peaks(adapt, memory.peak(device))


def stage(batch: Batch, device: str) -> TimedBlock:
    """Put the test episodes of a batch on the device, before any clock runs."""
    x = to_float(batch.support_x.numpy(), device)
    y = torch.from_numpy(batch.support_y.numpy()).to(device)
    return TimedBlock(Support(x, y), to_float(batch.query_x.numpy(), device))


def _timed(run: TimedCall, seconds: float, device: str) -> _Timed:
    warmup = timing.warm_up(run, seconds)
    audit = Audit(device)
    samples = timing.sample(run, seconds)
    return _Timed(samples, warmup, audit.cold(), audit.waited())


def _nanoseconds(seconds: Iterable[float]) -> list[float]:
    """Round times to nanoseconds, the clock's resolution: people read result files too."""
    return [round(value, 9) for value in seconds]


def _blocks(staged: TimedBlock, tasks: int) -> Iterator[TimedBlock]:
    """Yield blocks of so many tasks; drop an incomplete last block."""
    for first in range(0, len(staged.query_x) - tasks + 1, tasks):
        part = slice(first, first + tasks)
        support = Support(staged.support.x[part], staged.support.y[part])
        yield TimedBlock(support, staged.query_x[part])
