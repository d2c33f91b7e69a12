"""Peak memory: each phase's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from training_materials import plan, task

from metabench import BatchedLearner, Suite, Support
from metabench.suites.training_data import TrainingData
from metabench.worker import memory
from metabench.worker.measure import measure_peaks
from metabench.worker.meta_training import meta_train
from metabench.worker.timing import TimedBlock

HELD = 2**29
ERROR = 0.05 * 2**30  # what else a process takes and gives back meanwhile
BLOCK = TimedBlock(
    Support(torch.zeros(1, 5, 1, 8, 8), torch.zeros(1, 5)), torch.zeros(1, 15, 1, 8, 8)
)

memory.reset_peak("cpu")
pytestmark = pytest.mark.skipif(
    memory.peak("cpu") is None, reason="this system does not reset the peak of a process"
)


class Hungry(BatchedLearner):
    """Holds much memory for the length of one phase."""

    def __init__(self, phase: str) -> None:
        super().__init__(task())
        self.phase = phase

    def eat(self, phase: str) -> None:
        if phase == self.phase:
            torch.ones(HELD // 4)

    def adapt(self, support: Support) -> None:
        self.eat("adapt")

    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor:
        self.eat("predict")
        return torch.zeros(*query_x.shape[:2], 5)


@pytest.mark.parametrize("phase", ["adapt", "predict"])
def test_what_is_held_shows_in_its_own_phase_only(phase: str) -> None:
    peaks = measure_peaks(Hungry(phase), BLOCK)
    memory.reset_peak("cpu")
    rest = memory.peak("cpu")
    assert peaks.adapt is not None
    assert peaks.predict is not None
    assert rest is not None
    extra = {"adapt": peaks.adapt - rest, "predict": peaks.predict - rest}
    assert extra.pop(phase) == pytest.approx(HELD, abs=ERROR)
    assert all(abs(other) < ERROR for other in extra.values())


def test_what_adapt_keeps_counts_in_predict_too() -> None:
    class Keeps(Hungry):
        def adapt(self, support: Support) -> torch.Tensor:
            return torch.ones(HELD // 8)

    peaks = measure_peaks(Keeps("none"), BLOCK)
    memory.reset_peak("cpu")
    assert peaks.predict is not None
    assert peaks.predict - (memory.peak("cpu") or 0) > 0.9 * HELD / 2


def test_errors_that_say_that_memory_ran_out_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    for words in ("could not create a primitive", "could not execute a primitive"):
        assert memory.is_out_of_memory(RuntimeError(words))  # oneDNN under a memory limit
    assert not memory.is_out_of_memory(RuntimeError("shapes do not match"))


class FakeDevice:
    """A device whose counters are plain numbers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **counters: Any) -> None:
        self.calls: list[str] = []
        for name in ("empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.accelerator, name, self._recorder(name))
        for name, value in counters.items():
            monkeypatch.setattr(torch.accelerator, name, value)

    def _recorder(self, name: str) -> Any:
        return lambda *device: self.calls.append(name)


def test_a_device_is_asked_for_its_own_counters(monkeypatch) -> None:
    device = FakeDevice(
        monkeypatch, max_memory_allocated=lambda at: 123, memory_reserved=lambda at: 456
    )
    memory.reset_peak("cuda:0")
    assert device.calls == ["empty_cache", "reset_peak_memory_stats"]
    assert memory.peak("cuda:0") == 123
    assert memory.reserved("cuda:0") == 456


def test_a_device_that_does_not_count_has_an_unknown_peak(monkeypatch) -> None:
    def refuse(at: object) -> int:
        raise RuntimeError("not implemented")

    FakeDevice(monkeypatch, max_memory_allocated=refuse, memory_reserved=refuse)
    assert memory.peak("mps") is None
    assert memory.reserved("mps") == 0


class Trains(Hungry):
    def meta_step(self, episodes: Any) -> float:
        self.eat("meta-training")
        return 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "extra"), [("meta-training", HELD), ("predict", 0)])
def test_the_peak_of_meta_training_is_that_of_an_update_alone(phase: str, extra: int) -> None:
    # Validation predicts too, with many tasks at once.
    memory.reset_peak("cpu")
    rest = memory.peak("cpu")
    learner = Trains(phase)
    training = meta_train(learner, validated(), plan(updates=10), lambda *_: None)
    assert rest is not None
    assert training.peak_memory is not None
    assert abs(training.peak_memory - rest - extra) < ERROR


def validated() -> TrainingData:
    """Digits with a validation split."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (400, 8, 8), dtype=np.uint8), np.arange(400) % 20
    splits = {"base": range(8), "validation": range(8, 13), "novel": range(13, 20)}
    material = Suite.from_arrays(x, y, way=5, splits=splits, query=5).open().material
    assert material is not None
    assert material.validation is not None
    return material
