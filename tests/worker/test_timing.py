"""The timer: when it samples, what it waits for, and that it measures known costs correctly."""

from __future__ import annotations

import time
from itertools import count
from statistics import median
from typing import Any

import pytest
import torch
from training_materials import task

from metabench import BatchedLearner, Support
from metabench.worker import timing
from metabench.worker.batch_halving import BatchHalving
from metabench.worker.measure import measure_times
from metabench.worker.timing import TimedBlock, sample, time_both, time_phases, warm_up

BLOCK = TimedBlock(
    Support(torch.zeros(8, 5, 1, 8, 8), torch.zeros(8, 5)), torch.zeros(8, 15, 1, 8, 8)
)


class Costly(BatchedLearner):
    """Takes a known time, by its own clock, and remembers how long it really was."""

    def __init__(self, adapt_s: float, predict_s: float, device: str = "cpu") -> None:
        super().__init__(task())
        object.__setattr__(self.task, "device", device)
        self.costs = {"adapt": adapt_s, "predict": predict_s}
        self.took: dict[str, list[float]] = {"adapt": [], "predict": []}

    def spend(self, phase: str) -> None:
        start = time.monotonic()
        self.work(self.costs[phase])
        self.took[phase].append(time.monotonic() - start)

    def work(self, seconds: float) -> None: ...

    def adapt(self, support: Support) -> None:
        self.spend("adapt")

    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor:
        self.spend("predict")
        return torch.zeros(*query_x.shape[:2], 5)


class Sleeps(Costly):
    def work(self, seconds: float) -> None:
        time.sleep(seconds)


class Computes(Costly):
    """Computes until the time is over, so that its costs are the same on any machine."""

    def work(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            torch.ones(100).sum()


@pytest.mark.parametrize("kind", [Sleeps, Computes])
def test_known_costs_come_out_right_and_are_not_mixed(kind: type[Costly]) -> None:
    learner = kind(adapt_s=0.02, predict_s=0.004)
    found = measure_times(learner, BLOCK, seconds=0.5, tasks=4, halving=BatchHalving("cpu"))
    latency = 1 + found.warmup + len(found.adapt_s)
    for phase, samples in (("adapt", found.adapt_s), ("predict", found.predict_s)):
        check_is_of(samples, learner.took[phase][1 + found.warmup : latency])
    both = [sum(pair) for pair in zip(*learner.took.values(), strict=True)]
    assert found.cold_s >= both[0]
    check_is_of(found.throughput_s, both[-len(found.throughput_s) :])
    assert found.throughput_episodes == 4


def check_is_of(samples: list[float], own: list[float]) -> None:
    """Each sample has all of its own time in it, and little more where nothing else ran.

    A prediction that was counted as adapting would add a fifth.
    """
    over = [sample - one for sample, one in zip(samples, own, strict=True)]
    assert min(over) >= 0
    assert min(over) <= 0.15 * median(own)


class Clock:
    """Stands still but for what runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0.0
        monkeypatch.setattr(timing, "now", lambda: self.at)

    def run(self, *seconds: float) -> tuple[float, ...]:
        self.at += sum(seconds)
        return seconds


def test_steady_times_need_no_more_than_twenty_samples(monkeypatch) -> None:
    clock = Clock(monkeypatch)
    assert sample(lambda k: clock.run(0.01, 0.001), seconds=1) == [(0.01, 0.001)] * 20


def test_a_phase_that_is_over_at_once_keeps_nobody_waiting(monkeypatch) -> None:
    clock = Clock(monkeypatch)

    def run(k: int) -> tuple[float, ...]:
        return clock.run(0.01, 4e-7 * (1 + k % 3) + 1e-8 * (k // 5))

    assert warm_up(run, seconds=1000) == 10
    assert len(sample(run, seconds=1000)) == 20


def test_one_unsteady_phase_is_sampled_until_the_time_is_over(monkeypatch) -> None:
    clock = Clock(monkeypatch)
    found = sample(lambda k: clock.run(0.01, 0.001 * (1 + k % 3)), seconds=1)
    assert sum(map(sum, found[:-1])) < 1 <= sum(map(sum, found)) + 1e-9


def test_slow_tasks_give_three_samples_whatever_the_time(monkeypatch) -> None:
    clock = Clock(monkeypatch)
    assert len(sample(lambda k: clock.run(10.0), seconds=1)) == 3


def test_quick_unsteady_tasks_give_a_bounded_number_of_samples(monkeypatch) -> None:
    clock = Clock(monkeypatch)
    assert len(sample(lambda k: clock.run(1e-6 * (1 + k % 3)), seconds=1)) == 1000


def test_the_warm_up_ends_when_two_windows_agree(monkeypatch) -> None:
    clock = Clock(monkeypatch)
    # Windows of five: 5.0, 2.0, 1.0, 1.0 seconds.
    levels = [5.0] * 5 + [2.0] * 5 + [1.0] * 100
    assert warm_up(lambda k: clock.run(levels[k]), seconds=1000) == 20
    assert warm_up(lambda k: clock.run(1.0), seconds=1000) == 10


def test_a_warm_up_that_never_settles_ends_with_its_time(monkeypatch) -> None:
    clock = Clock(monkeypatch)
    numbers = count(1)
    assert warm_up(lambda k: clock.run(float(next(numbers))), seconds=50) == 10


class Recorder:
    """A fake accelerator: writes down when it is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        monkeypatch.setattr(torch.accelerator, "synchronize", self.synchronize)
        clock = timing.now
        monkeypatch.setattr(timing, "now", lambda: (self.calls.append("clock"), clock())[1])

    def synchronize(self, device: object) -> None:
        assert str(device) == "cuda:1"
        self.calls.append("wait")


class Notes(Costly):
    calls: list[str]

    def spend(self, phase: str) -> None:
        self.calls.append(phase)


def recorded(monkeypatch: pytest.MonkeyPatch, device: str) -> tuple[Notes, list[str]]:
    learner = Notes(0, 0, device)
    learner.calls = Recorder(monkeypatch).calls
    return learner, learner.calls


def test_latency_waits_for_the_device_around_each_phase(monkeypatch) -> None:
    learner, calls = recorded(monkeypatch, "cuda:1")
    time_phases(learner, BLOCK)
    assert calls == ["wait", "clock", "adapt", "wait", "clock", "predict", "wait", "clock"]


def test_throughput_waits_for_the_device_around_the_block_only(monkeypatch) -> None:
    learner, calls = recorded(monkeypatch, "cuda:1")
    time_both(learner, BLOCK)
    assert calls == ["wait", "clock", "adapt", "predict", "wait", "clock"]


def test_on_a_cpu_nothing_is_waited_for(monkeypatch) -> None:
    learner, calls = recorded(monkeypatch, "cpu")
    time_phases(learner, BLOCK)
    time_both(learner, BLOCK)
    assert "wait" not in calls


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_work_that_a_device_has_only_queued_is_waited_for() -> None:
    class Queues(Costly):
        def spend(self, phase: str) -> None:
            if phase == "adapt":
                torch.cuda._sleep(200_000_000)  # cycles: a tenth of a second or so

    adapt, predict = time_phases(Queues(0, 0, "cuda"), BLOCK)
    assert adapt > 10 * predict
