from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import io
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from training_materials import task

from metabench import Learner, Support, TaskSpec, UsageError
from metabench.worker import learner_state


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
    saved = learner_state.state_dict(first)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    second = Trained(task())
    learner_state.load_state_dict(second, torch.load(buffer, weights_only=True))
    first.step()
    second.step()
    pairs = zip(numbers(first), numbers(second), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert second.schedule.get_last_lr() == first.schedule.get_last_lr()


def test_a_saved_state_does_not_change_with_the_learner() -> None:
    learner = Trained(task())
    saved = learner_state.state_dict(learner)
    before = saved["net"]["weight"].clone()
    learner.step()
    assert torch.equal(saved["net"]["weight"], before)
    assert saved["mean"].sum() == 0


def test_parameters_are_counted_once() -> None:
    assert learner_state.parameter_count(Trained(task())) == 3 * 2 + 2 + 4


def test_a_learner_may_have_its_own_way() -> None:
    class Own(Trained):
        def state_dict(self) -> dict[str, int]:
            return {"answer": 42}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.answer = state["answer"]

    learner = Own(task())
    learner_state.load_state_dict(learner, learner_state.state_dict(learner))
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
    saved = learner_state.state_dict(learner)
    weight = learner.nets[0].weight.clone()
    with torch.no_grad():
        learner.params["w"] += 1
        learner.nets[0].weight += 1
    learner.counts += 1
    learner.steps = 7
    learner_state.load_state_dict(learner, saved)
    assert learner.params["w"].sum() == 0
    assert torch.equal(learner.nets[0].weight, weight)
    assert learner.counts.sum() == 0
    assert learner.steps == 0
    assert learner_state.parameter_count(learner) == 12 + 2 + 6


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
    assert learner_state.parameter_count(learner) == 64 * 5 + 5
    assert "optimizer" in learner_state.state_dict(learner)


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
    torch.save(learner_state.state_dict(learner), buffer)
    buffer.seek(0)
    found: dict[str, Any] = torch.load(buffer, weights_only=True)
    return found


def test_numbers_in_containers_and_objects_are_state_too() -> None:
    first = Bookkeeper(task())
    for _ in range(3):
        first.step()
    saved = saved_and_read(first)
    second = Bookkeeper(task())
    assert learner_state.fits(second, saved)
    learner_state.load_state_dict(second, saved)
    assert second.everything() == first.everything()
    first.step()
    second.step()
    assert second.everything() == first.everything()
    assert second.recent.maxlen == 2


def test_an_earlier_state_is_put_back_whatever_came_after() -> None:
    learner = Bookkeeper(task())
    before = learner.everything()
    saved = learner_state.state_dict(learner)
    learner.step()
    learner.more = torch.zeros(4)  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, saved)
    assert learner.everything() == before


def test_what_only_came_up_in_training_does_not_fit_a_new_learner() -> None:
    learner = Bookkeeper(task())
    learner.late = torch.zeros(4)  # type: ignore[attr-defined]
    assert not learner_state.fits(Bookkeeper(task()), saved_and_read(learner))
    learner = Bookkeeper(task())
    learner.last = torch.optim.SGD([learner.scale], lr=0.1)  # type: ignore[assignment]
    assert not learner_state.fits(Bookkeeper(task()), saved_and_read(learner))


def test_what_cannot_be_saved_is_known() -> None:
    learner = Bookkeeper(task())
    assert learner_state.unsaved(learner) == []
    learner.numbers = itertools.count()  # type: ignore[attr-defined]
    assert learner_state.unsaved(learner) == ["numbers"]


class Bare(Learner):
    """Has the attributes that a test gives it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(task())
        vars(self).update(attributes)

    def adapt(self, support: Support) -> Any: ...
    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...


class AdamState(NamedTuple):
    m: torch.Tensor
    v: torch.Tensor
    t: int
    lr: float


class Phase(enum.Enum):
    WARM_UP = "warm-up"
    LATE = "late"


@dataclasses.dataclass(slots=True)
class Slotted:
    weight: torch.Tensor
    seen: int


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Slotted):
        return same(dataclasses.astuple(one), dataclasses.astuple(other))
    return bool(one == other)


# What a learner has at first, and at another time.
CHANGES = {
    "named tuple": (
        AdamState(tensor(0), tensor(0), 0, 0.1),
        AdamState(tensor(1), tensor(2), 3, 0.05),
    ),
    "named tuple of numbers": (collections.namedtuple("Two", "a b")(0, 0),) * 2,
    "number in a tuple": ((np.float32(0), tensor(0)), (np.float32(0.1), tensor(1))),
    "tuple in a tuple": (((0, tensor(0)), "a"), ((1, tensor(1)), "b")),
    "tuple in a list": ([(0, tensor(0))], [(1, tensor(1))]),
    "frozenset": (frozenset({0}), frozenset({1, 2})),
    "complex": (0j, 1 + 2j),
    "bytes": (b"", b"abc"),
    "slots": (Slotted(tensor(0), 0), Slotted(tensor(1), 1)),
    "enum": (Phase.WARM_UP, Phase.LATE),
    "numpy number for a plain one": (0.0, np.float32(0.1)),
    "plain number for a numpy one": (np.float32(0), 0.1),
    "texts": (np.array(["cat", "dog"]), np.array(["horse", "x"])),
    "objects": (np.array(["a", 1, [2]], dtype=object), np.array(["b", None, [3]], dtype=object)),
    "keys that read the same": ({1: tensor(0), "1": tensor(0)}, {1: tensor(1), "1": tensor(2)}),
    "keys with dots": (
        {"a": {"b": tensor(0)}, "a.b": tensor(0)},
        {"a": {"b": tensor(1)}, "a.b": tensor(2)},
    ),
}


@pytest.mark.parametrize(("fresh", "trained"), CHANGES.values(), ids=CHANGES)
def test_every_kind_of_value_is_read_into_a_new_learner(fresh: Any, trained: Any) -> None:
    saved, second = saved_and_read(Bare(kept=trained)), Bare(kept=copy.deepcopy(fresh))
    assert learner_state.unsaved(second) == []
    assert learner_state.fits(second, saved)
    learner_state.load_state_dict(second, saved)
    assert same(second.kept, trained)  # type: ignore[attr-defined]


# What grew, shrank, or became something else after the best state was kept.
LATER = {
    "list of tensors": ([tensor(0)] * 2, [tensor(i) for i in range(7)]),
    "list that was empty": ([], [tensor(0)]),
    "list that was emptied": ([tensor(1), tensor(2)], []),
    "dict of tensors": ({"a": tensor(0)}, {"a": tensor(1), "b": tensor(2)}),
    "deque": (collections.deque([tensor(1)]), collections.deque([tensor(2), tensor(3)])),
    "rows of a tensor": (tensor(1, 2, 3, 4)[None], torch.zeros(6, 4)),
    "rows of an array": (np.ones((1, 4)), np.zeros((6, 4))),
    "a tensor of another type": (tensor(0.5), torch.tensor([3])),
    "bank": (torch.ones(5, 2), torch.ones(50, 2)),
    "texts": (np.array(["horse"]), np.array(["cat"])),
    "objects": (np.array([{"a"}, None]), np.array([{"b"}, None])),
    "set": ({1}, None),
    "named tuple": (AdamState(tensor(1), tensor(2), 3, 0.1), AdamState(*[tensor(9)] * 2, 9, 9.0)),
    "slots": (Slotted(tensor(1), 1), Slotted(tensor(2), 2)),
}


@pytest.mark.parametrize(("then", "now"), LATER.values(), ids=LATER)
def test_a_state_goes_back_to_what_it_was(then: Any, now: Any) -> None:
    learner = Bare(kept=copy.deepcopy(then))
    saved = learner_state.state_dict(learner)
    learner.kept = copy.deepcopy(now)  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, saved)
    assert same(learner.kept, then)  # type: ignore[attr-defined]


def test_an_attribute_that_came_up_later_is_taken_away() -> None:
    learner = Bare()
    saved = learner_state.state_dict(learner)
    learner.late = torch.zeros(2)  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, saved)
    assert not hasattr(learner, "late")


def test_a_layer_that_grew_goes_back_to_its_size() -> None:
    learner = Bare(net=torch.nn.Linear(2, 5))
    before, x = learner_state.state_dict(learner), torch.ones(1, 2)
    outputs = learner.net(x)  # type: ignore[attr-defined]
    learner.net = torch.nn.Linear(2, 50)  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, before)
    assert torch.equal(learner.net(x), outputs)  # type: ignore[attr-defined]


class Pair(Bare):
    slow: Any
    fast: Any

    def numbers(self) -> tuple[float, float]:
        return self.slow.item(), self.fast.item()


def test_two_names_that_became_one_tensor_have_their_own_values_again() -> None:
    learner = Pair(slow=tensor(0), fast=tensor(3))
    saved = learner_state.state_dict(learner)
    learner.slow = learner.fast
    learner_state.load_state_dict(learner, saved)
    assert learner.numbers() == (0, 3)


def test_two_names_that_were_one_tensor_both_go_back() -> None:
    learner = Pair(slow=tensor(2.5))
    learner.fast = learner.slow
    saved = learner_state.state_dict(learner)
    learner.fast = tensor(5.5)
    learner_state.load_state_dict(learner, saved)
    assert learner.numbers() == (2.5, 2.5)
    assert learner.slow is learner.fast


@pytest.mark.parametrize("alias", [torch.Tensor.detach, lambda fast: fast[:]])
def test_tensors_that_came_to_share_memory_have_their_own_values_again(alias: Any) -> None:
    learner = Pair(slow=tensor(0), fast=tensor(3))
    saved = learner_state.state_dict(learner)
    learner.slow = alias(learner.fast)
    learner_state.load_state_dict(learner, saved)
    assert learner.numbers() == (0, 3)


def test_arrays_that_came_to_share_memory_have_their_own_values_again() -> None:
    learner = Pair(slow=np.zeros(1), fast=np.full(1, 3.0))
    saved = learner_state.state_dict(learner)
    learner.slow = learner.fast[:]
    learner_state.load_state_dict(learner, saved)
    assert (learner.slow[0], learner.fast[0]) == (0, 3)


def test_a_network_that_came_to_be_shared_has_its_own_weights_again() -> None:
    learner = Pair(slow=torch.nn.Linear(1, 1), fast=torch.nn.Linear(1, 1))
    saved, x = learner_state.state_dict(learner), torch.ones(1)
    before = learner.slow(x), learner.fast(x)
    learner.slow = learner.fast
    learner_state.load_state_dict(learner, saved)
    assert (learner.slow(x), learner.fast(x)) == before


def test_a_weight_that_came_to_be_shared_with_a_network_is_its_own_again() -> None:
    learner = Pair(fast=torch.nn.Linear(1, 1), slow=torch.zeros(1, 1))
    saved, before = learner_state.state_dict(learner), learner.fast.weight.item()
    learner.slow = learner.fast.weight
    learner_state.load_state_dict(learner, saved)
    assert (learner.slow.item(), learner.fast.weight.item()) == (0, before)


def test_a_tensor_that_came_to_share_memory_with_an_array_has_its_own_values_again() -> None:
    learner = Pair(slow=tensor(0), fast=np.full(1, 3, np.float32))
    saved = learner_state.state_dict(learner)
    learner.slow = torch.from_numpy(learner.fast)
    learner_state.load_state_dict(learner, saved)
    assert (learner.slow.item(), learner.fast[0]) == (0, 3)


def test_a_list_that_came_to_be_shared_has_its_own_tensors_again() -> None:
    learner = Pair(slow=[tensor(0)], fast=[tensor(3)])
    saved = learner_state.state_dict(learner)
    learner.slow = learner.fast
    learner_state.load_state_dict(learner, saved)
    assert (learner.slow[0].item(), learner.fast[0].item()) == (0, 3)


def test_a_state_with_other_sharing_does_not_fit_for_an_optimiser_may_hold_either() -> None:
    separate, shared = Pair(slow=tensor(0), fast=tensor(0)), Pair(slow=tensor(0))
    shared.fast = shared.slow
    assert not learner_state.fits(separate, saved_and_read(shared))
    assert not learner_state.fits(shared, saved_and_read(separate))
    assert learner_state.fits(shared, saved_and_read(shared))


def test_numbers_that_happen_to_be_one_object_fit_others() -> None:
    both = (0, 0)
    saved = saved_and_read(Bare(a=(1, 2), b=both, task=None))
    assert learner_state.fits(Bare(a=both, b=both, task=None), saved)


def test_a_state_of_another_number_type_does_not_fit() -> None:
    saved = saved_and_read(Bare(mean=tensor(0.5)))
    assert not learner_state.fits(Bare(mean=torch.tensor([0])), saved)


def test_tensors_stay_the_same_objects_wherever_they_can() -> None:
    held = [tensor(0), tensor(0), tensor(0)]
    learner = Bare(a=held[0], b=(held[1], 0), c=Slotted(held[2], 0))
    saved = learner_state.state_dict(learner)
    learner.b = (held[1], 1)  # type: ignore[attr-defined]
    for each in held:
        each += 1
    learner_state.load_state_dict(learner, saved)
    assert [each.item() for each in held] == [0, 0, 0]
    now = (learner.a, learner.b[0], learner.c.weight)  # type: ignore[attr-defined]
    assert all(one is other for one, other in zip(now, held, strict=True))


def test_objects_that_refer_to_each_other_are_put_back() -> None:
    helper = Bookkeeper.Helper()
    learner = Bare(helper=helper)
    helper.owner, helper.all = learner, [helper]  # type: ignore[attr-defined]
    saved = saved_and_read(learner)
    helper.seen = 3
    learner_state.load_state_dict(learner, saved)
    assert helper.seen == 0
    assert helper.owner is learner  # type: ignore[attr-defined]
    assert helper.all == [helper]  # type: ignore[attr-defined]


def test_what_is_gone_and_cannot_be_made_is_told() -> None:
    learner = Bare(net=torch.nn.Linear(1, 1))
    saved = learner_state.state_dict(learner)
    learner.net = None  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="the state of net, a Linear, cannot be put back: it is"):
        learner_state.load_state_dict(learner, saved)


def test_a_function_that_has_been_changed_since_is_told() -> None:
    learner = Bare(activation=torch.relu, kind=torch.nn.Linear)
    saved = learner_state.state_dict(learner)
    learner.activation = torch.tanh  # type: ignore[attr-defined]
    assert not learner_state.fits(learner, saved)
    with pytest.raises(UsageError, match=r"the state of activation, .*relu, cannot be put"):
        learner_state.load_state_dict(learner, saved)


def test_parts_of_one_tensor_side_by_side_fit_tensors_of_their_own() -> None:
    mean, deviation = torch.ones(2, 3).unbind()
    saved = saved_and_read(Bare(mean=mean, deviation=deviation))
    fresh = Bare(mean=torch.zeros(3), deviation=torch.zeros(3))
    assert learner_state.fits(fresh, saved)
    learner_state.load_state_dict(fresh, saved)
    assert learner_state.fits(fresh, learner_state.state_dict(fresh))
    assert torch.equal(fresh.deviation, deviation)  # type: ignore[attr-defined]


def test_a_tensor_made_in_inference_mode_is_put_back() -> None:
    learner = Bare()
    with torch.inference_mode():
        learner.mean = torch.ones(2)  # type: ignore[attr-defined]
        saved = learner_state.state_dict(learner)
        learner.mean += 1  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, saved)
    assert learner.mean.tolist() == [1, 1]  # type: ignore[attr-defined]


def test_an_expanded_tensor_is_put_back() -> None:
    learner = Bare(prior=tensor(1).expand(5))
    saved = learner_state.state_dict(learner)
    learner.prior = tensor(2).expand(5)  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, saved)
    assert learner.prior.tolist() == [1] * 5  # type: ignore[attr-defined]


def test_a_lazy_layer_takes_the_shape_that_it_had() -> None:
    trained = Bare(net=torch.nn.LazyLinear(2))
    before = trained.net(torch.ones(1, 3))  # type: ignore[attr-defined]
    saved, fresh = saved_and_read(trained), Bare(net=torch.nn.LazyLinear(2))
    learner_state.load_state_dict(fresh, saved)
    assert torch.equal(fresh.net(torch.ones(1, 3)), before)  # type: ignore[attr-defined]


def test_what_is_shared_with_something_lost_is_put_back() -> None:
    class Sampler(Iterator[int]):
        def __init__(self) -> None:
            self.weight = tensor(1)

        def __next__(self) -> int: ...  # type: ignore[empty-body]

    sampler = Sampler()
    learner = Bare(a=sampler, b=sampler, c=[iter([])] * 2, weight=sampler.weight)
    assert learner_state.lost(learner) == ["a", "c.0", "c.1"]
    saved = learner_state.state_dict(learner)
    sampler.weight += 1
    learner_state.load_state_dict(learner, saved)
    assert sampler.weight == 1
    assert learner.weight is sampler.weight  # type: ignore[attr-defined]


def test_names_on_a_module_that_became_one_have_their_own_values_again() -> None:
    class Both(Pair, torch.nn.Module):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            Learner.__init__(self, task())
            self.slow = torch.nn.Parameter(tensor(0.0))
            self.register_buffer("fast", tensor(3.0))

    learner = Both()
    saved = learner_state.state_dict(learner)
    learner.slow.data = learner.fast.data
    learner_state.load_state_dict(learner, saved)
    assert learner.numbers() == (0, 3)


LOST = {
    "kept.0": [itertools.count()],
    "kept": {torch.zeros(1): torch.zeros(1)},
    "kept.x": {"x": bytearray(3)},
    "kept['1']": {"1": {torch.zeros(1)}, 1: tensor(0)},
}


@pytest.mark.parametrize(("name", "value"), LOST.items())
def test_what_is_lost_is_known_wherever_it_is(name: str, value: Any) -> None:
    assert learner_state.unsaved(Bare(kept=value)) == [name]
    assert learner_state.lost(Bare(kept=value)) == [name]


def test_arrays_of_objects_are_kept_but_not_in_files() -> None:
    learner = Bare(kept=np.array([{"a"}, Phase.LATE, object()]))
    assert learner_state.unsaved(learner) == ["kept"]
    assert learner_state.lost(learner) == []
