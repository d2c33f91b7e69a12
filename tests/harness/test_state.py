from __future__ import annotations

import collections
import io
import itertools
from typing import Any

import numpy as np
import torch
from harness.materials import task

from metabench import Learner, Support, TaskSpec
from metabench.harness import state


class Trained(Learner):
    """A module, its optimiser, a scheduler, a learnable and a plain tensor."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.net = torch.nn.Linear(3, 2)
        self.same_net = self.net
        self.scale = torch.ones(4, requires_grad=True)
        self.mean = torch.zeros(7)
        self.optimizer = torch.optim.Adam([*self.net.parameters(), self.scale], lr=0.1)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.5)

    def adapt(self, support: Support) -> Any: ...
    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...

    def step(self) -> None:
        loss = self.net(torch.arange(3.0)).square().sum() + self.scale.sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.mean += 1


def numbers(learner: Trained) -> list[torch.Tensor]:
    return [*learner.net.parameters(), learner.scale, learner.mean]


def test_a_restored_learner_goes_on_as_if_nothing_had_happened() -> None:
    first = Trained(task())
    first.step()
    saved = state.state_dict(first)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    second = Trained(task())
    state.load_state_dict(second, torch.load(buffer, weights_only=True))
    first.step()
    second.step()
    pairs = zip(numbers(first), numbers(second), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert second.schedule.get_last_lr() == first.schedule.get_last_lr()


def test_a_saved_state_does_not_change_with_the_learner() -> None:
    learner = Trained(task())
    saved = state.state_dict(learner)
    before = saved["net"]["weight"].clone()
    learner.step()
    assert torch.equal(saved["net"]["weight"], before)
    assert saved["mean"].sum() == 0


def test_parameters_are_counted_once() -> None:
    assert state.parameter_count(Trained(task())) == 3 * 2 + 2 + 4


def test_a_learner_may_have_its_own_way() -> None:
    class Own(Trained):
        def state_dict(self) -> dict[str, int]:
            return {"answer": 42}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.answer = state["answer"]

    learner = Own(task())
    state.load_state_dict(learner, state.state_dict(learner))
    assert learner.answer == 42


def test_state_in_containers_and_numbers_is_kept_too() -> None:
    class Contained(Trained):
        def __init__(self, task: TaskSpec) -> None:
            super().__init__(task)
            self.params = {"w": torch.zeros(2, requires_grad=True)}
            self.nets = [torch.nn.Linear(2, 2)]
            self.counts = np.zeros(3)
            self.steps = 0

    learner = Contained(task())
    saved = state.state_dict(learner)
    weight = learner.nets[0].weight.clone()
    with torch.no_grad():
        learner.params["w"] += 1
        learner.nets[0].weight += 1
    learner.counts += 1
    learner.steps = 7
    state.load_state_dict(learner, saved)
    assert learner.params["w"].sum() == 0
    assert torch.equal(learner.nets[0].weight, weight)
    assert learner.counts.sum() == 0
    assert learner.steps == 0
    assert state.parameter_count(learner) == 12 + 2 + 6


def test_a_learner_that_is_a_module_itself_is_kept_with_its_optimiser() -> None:
    class Both(Learner, torch.nn.Module):
        def __init__(self, task: TaskSpec) -> None:
            torch.nn.Module.__init__(self)
            Learner.__init__(self, task)
            self.net = torch.nn.Linear(64, 5)
            self.optimizer = torch.optim.Adam(self.net.parameters())

        def adapt(self, support: Support) -> Any: ...
        def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...

    learner = Both(task())
    assert state.parameter_count(learner) == 64 * 5 + 5
    assert "optimizer" in state.state_dict(learner)


class Bookkeeper(Trained):
    """Keeps numbers in every sort of container, and in an object of its own."""

    class Helper:
        def __init__(self) -> None:
            self.weight = torch.zeros(2)
            self.seen = 0

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.stats = {"n": 0, "mean": 0.0}
        self.history: list[float] = []
        self.recent: collections.deque[float] = collections.deque(maxlen=2)
        self.mixed = [torch.zeros(1), 0]
        self.scalar = np.float32(0)
        self.helper = self.Helper()
        self.phase = "warm-up"
        self.last: torch.Tensor | None = None
        self.seen = {0}
        self.drawn = 0.0
        self.legacy = np.random.RandomState(0)

    def step(self) -> None:
        super().step()
        self.stats["n"] += 1
        self.stats["mean"] += 0.5
        self.history.append(float(self.stats["n"]))
        self.recent.append(float(self.stats["n"]))
        self.mixed[0] += 1
        self.mixed[1] += 1
        self.scalar = self.scalar + np.float32(0.25)
        self.helper.weight += 2
        self.helper.seen += 1
        self.phase = "trained"
        self.last = torch.ones(3)
        self.seen.add(len(self.seen))
        self.drawn = float(self.legacy.rand())

    def everything(self) -> tuple[Any, ...]:
        last = None if self.last is None else self.last.tolist()
        return (
            *(dict(self.stats), list(self.history), list(self.recent)),
            *(self.mixed[0].item(), self.mixed[1], float(self.scalar), type(self.scalar)),
            *(self.helper.weight.tolist(), self.helper.seen, self.phase, last),
            *(set(self.seen), self.drawn),
        )


def saved_and_read(learner: Learner) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state.state_dict(learner), buffer)
    buffer.seek(0)
    found: dict[str, Any] = torch.load(buffer, weights_only=True)
    return found


def test_numbers_in_containers_and_objects_are_state_too() -> None:
    first = Bookkeeper(task())
    for _ in range(3):
        first.step()
    saved = saved_and_read(first)
    second = Bookkeeper(task())
    assert state.fits(second, saved)
    state.load_state_dict(second, saved)
    assert second.everything() == first.everything()
    first.step()
    second.step()
    assert second.everything() == first.everything()
    assert second.recent.maxlen == 2


def test_an_earlier_state_is_put_back_whatever_came_after() -> None:
    learner = Bookkeeper(task())
    before = learner.everything()
    saved = state.state_dict(learner)
    learner.step()
    learner.more = torch.zeros(4)  # type: ignore[attr-defined]
    state.load_state_dict(learner, saved)
    assert learner.everything() == before


def test_what_only_came_up_in_training_does_not_fit_a_new_learner() -> None:
    learner = Bookkeeper(task())
    learner.late = torch.zeros(4)  # type: ignore[attr-defined]
    assert not state.fits(Bookkeeper(task()), saved_and_read(learner))
    learner = Bookkeeper(task())
    learner.last = torch.optim.SGD([learner.scale], lr=0.1)  # type: ignore[assignment]
    assert not state.fits(Bookkeeper(task()), saved_and_read(learner))


def test_what_cannot_be_saved_is_known() -> None:
    learner = Bookkeeper(task())
    assert state.unsaved(learner) == []
    learner.numbers = itertools.count()  # type: ignore[attr-defined]
    assert state.unsaved(learner) == ["numbers"]
