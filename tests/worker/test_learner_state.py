from __future__ import annotations

import array
import collections
import copy
import dataclasses
import enum
import io
import itertools
import logging
import random
import types
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.neighbors import KDTree
from training_materials import task

from metabench import Learner, Support, TaskSpec, UsageError
from metabench.worker import learner_state


class Trained(Learner):
    """Has every kind of state, and trains."""

    class Helper:
        def __init__(self) -> None:
            self.seen, self.owner = 0, None

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.net = torch.nn.Linear(3, 2)
        self.same_net = self.net
        self.scale = torch.ones(4, requires_grad=True)
        self.mean = torch.zeros(7)
        self.optimizer = torch.optim.Adam([*self.net.parameters(), self.scale], lr=0.1)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.5)
        self.generators = (
            *(task.generator(), random.Random(0)),
            *(np.random.default_rng(0), np.random.RandomState(0)),
        )
        self.drawn = torch.zeros(4)
        self.counts = np.zeros(3)
        self.history: dict[str, list[float]] = collections.defaultdict(list)
        self.mixed = [torch.zeros(1), {"n": 0}]
        self.helper = self.Helper()
        self.helper.owner = self  # type: ignore[assignment]
        self.last: torch.Tensor | None = None
        self.activation, self.device_name = torch.relu, torch.device("cpu")
        self.log = logging.getLogger("learner")

    def adapt(self, support: Support) -> Any: ...
    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...

    def step(self) -> None:
        loss = self.net(torch.arange(3.0)).square().sum() + self.scale.sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.mean += 1
        own, python, numpy, legacy = self.generators
        self.drawn[:] = torch.tensor(
            [torch.rand((), generator=own), python.random(), numpy.random(), legacy.rand()]
        )
        self.counts += 1
        self.history["loss"].append(loss.item())
        self.mixed[0] += 1
        self.mixed[1] = {"n": self.mixed[1]["n"] + 1}
        self.helper.seen += 1
        self.last = torch.ones(3)

    def everything(self) -> list[Any]:
        tensors = *self.net.parameters(), self.scale, self.mean, self.drawn, self.mixed[0]
        return [
            *([tensor.tolist() for tensor in tensors], self.schedule.get_last_lr()),
            *(self.counts.tolist(), dict(self.history), self.mixed[1], self.helper.seen),
            None if self.last is None else self.last.tolist(),
        ]


class Bare(Learner):
    """Has the attributes that a test gives it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(task())
        vars(self).update(attributes)

    kept: Any
    mean: Any
    slow: Any
    fast: Any

    def adapt(self, support: Support) -> Any: ...
    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...


def saved_and_read(learner: Learner) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(learner_state.state_dict(learner), buffer)
    buffer.seek(0)
    found: dict[str, Any] = torch.load(buffer, weights_only=True)
    return found


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_a_restored_learner_continues_like_the_first() -> None:
    first = Trained(task())
    for _ in range(3):
        first.step()
    saved, second = saved_and_read(first), Trained(task())
    assert learner_state.fits(second, saved)
    learner_state.load_state_dict(second, saved)
    assert second.everything() == first.everything()
    assert second.same_net is second.net
    assert second.helper.owner is second
    first.step()
    second.step()
    assert second.everything() == first.everything()


def test_an_earlier_state_is_restored_in_place() -> None:
    learner = Trained(task())
    held = [*learner.net.parameters(), learner.scale, learner.mean, learner.counts, learner.mixed]
    before, saved = copy.deepcopy(learner.everything()), learner_state.state_dict(learner)
    learner.step()
    learner.later = torch.zeros(4)  # type: ignore[attr-defined]
    learner_state.load_state_dict(learner, saved)
    assert learner.everything() == before
    assert not hasattr(learner, "later")
    now = [*learner.net.parameters(), learner.scale, learner.mean, learner.counts, learner.mixed]
    assert all(one is other for one, other in zip(now, held, strict=True))


def test_parameters_are_counted_once() -> None:
    assert learner_state.parameter_count(Trained(task())) == 3 * 2 + 2 + 4


def test_a_learner_may_save_its_state_itself() -> None:
    class Own(Trained):
        def state_dict(self) -> dict[str, Any]:
            return {"answer": 42, "mean": self.mean}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.answer = state["answer"]

    learner = Own(task())
    learner.numbers = iter([1])  # type: ignore[attr-defined]
    saved = learner_state.state_dict(learner)
    learner.mean += 1
    assert saved["mean"].sum() == 0
    assert learner_state.fits(learner, saved)
    assert not learner_state.fits(learner, {**saved, "mean": torch.zeros(8)})
    learner_state.load_state_dict(learner, saved)
    assert learner.answer == 42


def test_a_learner_that_is_a_module_is_saved_with_its_optimiser() -> None:
    class Both(Learner, torch.nn.Module):
        def __init__(self, task: TaskSpec) -> None:
            torch.nn.Module.__init__(self)
            Learner.__init__(self, task)
            self.net = torch.nn.Linear(64, 5)
            self.register_buffer("mean", torch.zeros(2))
            self.optimizer = torch.optim.Adam(self.net.parameters())

        def adapt(self, support: Support) -> Any: ...
        def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...

    learner, fresh = Both(task()), Both(task())
    learner.net(torch.ones(64)).sum().backward()
    learner.optimizer.step()
    learner.mean += 1
    saved = saved_and_read(learner)
    assert learner_state.parameter_count(fresh) == 64 * 5 + 5
    assert learner_state.fits(fresh, saved)
    learner_state.load_state_dict(fresh, saved)
    assert fresh.mean.tolist() == [1, 1]
    assert torch.equal(fresh.net.weight, learner.net.weight)
    assert fresh.optimizer.state_dict()["state"][0]["step"] == 1


class AdamState(NamedTuple):
    m: torch.Tensor
    t: int


class Phase(enum.Enum):
    FIRST = 1
    SECOND = 2


class Dotted(dict[str, Any]):
    __getattr__ = dict.__getitem__


@dataclasses.dataclass(frozen=True)
class Frozen:
    weight: torch.Tensor
    seen: int


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor | np.ndarray):
        return one.dtype == other.dtype and one.tolist() == other.tolist()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Frozen | types.SimpleNamespace):
        return same(vars(one), vars(other))
    return bool(one == other)


# What a learner has at first, and later.
CHANGES = {
    "named tuple": (AdamState(tensor(0), 0), AdamState(tensor(1), 3)),
    "tuple in a list": ([(0, tensor(0))], [(1, tensor(1))]),
    "number of NumPy": (np.float32(0), np.float32(0.1)),
    "number of NumPy for a plain one": (0.0, np.float64(0.1)),
    "plain number for one of NumPy": (np.float32(0), 0.1),
    "complex number": (0j, 1 + 2j),
    "bytes": (b"", b"abc"),
    "frozen dataclass": (Frozen(tensor(0), 0), Frozen(tensor(1), 1)),
    "namespace": (types.SimpleNamespace(n=0), types.SimpleNamespace(n=1)),
    "member of an enum": (Phase.FIRST, Phase.SECOND),
    "plain dict that grew": (collections.Counter(), collections.Counter("aab")),
    "set": ({1, "a"}, {1, (2, "b"), None}),
    "set that was empty": (set(), {1}),
    "frozen set": (frozenset(), frozenset({1})),
    "deque of numbers": (collections.deque([0.5], 2), collections.deque([1, 2.5], 2)),
    "deque of tensors": (collections.deque([tensor(0)]), collections.deque([tensor(1)])),
    "tensor in place of None": (None, tensor(1)),
    "keys that read the same": ({1: tensor(0), "1": tensor(0)}, {1: tensor(1), "1": tensor(2)}),
    "keys with dots": (
        {"a": {"b": tensor(0)}, "a.b": tensor(0)},
        {"a": {"b": tensor(1)}, "a.b": tensor(2)},
    ),
}


@pytest.mark.parametrize(("fresh", "trained"), CHANGES.values(), ids=CHANGES)
def test_every_kind_of_value_is_read_into_a_new_learner(fresh: Any, trained: Any) -> None:
    saved, second = saved_and_read(Bare(kept=trained)), Bare(kept=copy.deepcopy(fresh))
    assert learner_state.fits(second, saved)
    learner_state.load_state_dict(second, saved)
    assert same(second.kept, trained)


def test_a_dict_whose_keys_are_its_attributes_is_saved_as_a_dict() -> None:
    first, second = Bare(kept=Dotted(lr=0.1, seen={1})), Bare(kept=Dotted(lr=0.2, seen=set()))
    saved = saved_and_read(first)
    assert learner_state.fits(second, saved)
    learner_state.load_state_dict(second, saved)
    assert second.kept == first.kept


# What grew, shrank or became something else after the best state was kept.
LATER = {
    "longer list of tensors": ([tensor(0)] * 2, [tensor(i) for i in range(7)]),
    "emptied list": ([tensor(1), tensor(2)], []),
    "dict of tensors": ({"a": tensor(0)}, {"a": tensor(1), "b": tensor(2)}),
    "more rows of a tensor": (tensor(1, 2, 3, 4)[None], torch.zeros(6, 4)),
    "more rows of an array": (np.ones((1, 4)), np.zeros((6, 4))),
    "None in place of an array": (np.ones(2), None),
    "tensor of another type": (tensor(0.5), torch.tensor([3])),
    "None in place of a parameter": (torch.nn.Parameter(tensor(1.0)), None),
    "expanded tensor": (tensor(1).expand(5), tensor(2).expand(5)),
    "plain list": ([1, (2, [3])], "text"),
    "set": ({1, 2}, {1, 3}),
    "set in place of None": ({1, 2}, None),
    "longer deque of tensors": (
        collections.deque([tensor(0)], 2),
        collections.deque([tensor(1), tensor(2)], 2),
    ),
}


@pytest.mark.parametrize(("then", "now"), LATER.values(), ids=LATER)
def test_a_state_is_restored_whatever_came_later(then: Any, now: Any) -> None:
    learner = Bare(kept=copy.deepcopy(then))
    saved = learner_state.state_dict(learner)
    learner.kept = copy.deepcopy(now)
    learner_state.load_state_dict(learner, saved)
    assert same(learner.kept, then)


def test_a_tensor_made_in_inference_mode_is_restored() -> None:
    with torch.inference_mode():
        learner = Bare(mean=torch.ones(2))
        saved = learner_state.state_dict(learner)
        learner.mean += 1
    learner_state.load_state_dict(learner, saved)
    assert learner.mean.tolist() == [1, 1]


def test_two_names_that_became_one_tensor_have_their_own_values_again() -> None:
    learner = Bare(slow=tensor(0), fast=tensor(3))
    saved = learner_state.state_dict(learner)
    learner.slow = learner.fast
    learner_state.load_state_dict(learner, saved)
    assert (learner.slow.item(), learner.fast.item()) == (0, 3)


@pytest.mark.parametrize("now", [torch.Tensor.detach, torch.Tensor.numpy])
def test_memory_that_came_to_be_shared_is_refused(now: Any) -> None:
    """Restored one after the other, both would have the values of the later one."""
    learner = Bare()
    learner.fast = torch.tensor([1.0, float("nan")])
    learner.slow = now(torch.tensor([2.0, 3.0]))
    state = learner_state.state_dict(learner)
    learner.slow = now(learner.fast)
    with pytest.raises(UsageError, match=r"the state of fast cannot be restored: .* clone\(\)"):
        learner_state.load_state_dict(learner, state)
    learner.slow = now(learner.fast.clone())
    learner_state.load_state_dict(learner, state)
    assert learner.slow.tolist() == [2.0, 3.0]


def test_two_names_that_were_one_tensor_are_one_again() -> None:
    learner = Bare(slow=tensor(2.5))
    learner.fast = learner.slow
    saved = learner_state.state_dict(learner)
    learner.fast = tensor(5.5)
    learner_state.load_state_dict(learner, saved)
    assert learner.slow.item() == 2.5
    assert learner.fast is learner.slow


SHARED = tensor(0)
# What a new learner has, and what one has whose state does not fit it.
MISFITS = {
    "part that is not there at first": ({}, {"late": tensor(0)}),
    "optimiser that is made late": ({"o": None}, {"o": torch.optim.SGD([tensor(0)])}),
    "tensor of another type": ({"mean": torch.tensor([0])}, {"mean": tensor(0.5)}),
    "network of another size": ({"n": torch.nn.Linear(1, 2)}, {"n": torch.nn.Linear(1, 3)}),
    "function": ({"f": torch.relu}, {"f": torch.tanh}),
    "two objects": ({"a": SHARED, "b": SHARED}, {"a": tensor(0), "b": tensor(0)}),
    "one object": ({"a": tensor(0), "b": tensor(0)}, {"a": SHARED, "b": SHARED}),
}


@pytest.mark.parametrize(("fresh", "trained"), MISFITS.values(), ids=MISFITS)
def test_a_state_with_other_parts_does_not_fit(fresh: Any, trained: Any) -> None:
    saved = saved_and_read(Bare(**trained))
    assert learner_state.fits(Bare(**trained), saved)
    assert not learner_state.fits(Bare(**fresh), saved)


def test_a_network_whose_tensors_have_other_shapes_or_dtypes_by_now_is_restored() -> None:
    learner = Bare(kept=torch.nn.Linear(3, 2))
    weight, saved = learner.kept.weight.tolist(), learner_state.state_dict(learner)
    learner.kept.weight.data = torch.zeros(5, 3)
    learner_state.load_state_dict(learner, saved)
    assert learner.kept.weight.tolist() == weight
    learner.kept.half()
    learner_state.load_state_dict(learner, saved)
    assert learner.kept.weight.tolist() == weight


class Net(torch.nn.Module):
    """Has state that torch's own `state_dict` leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.norm = torch.nn.BatchNorm1d(2)
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.calls, self.bank, self.seen = 0, [torch.zeros(1)], {"n": 0}


def test_all_that_a_network_holds_is_restored() -> None:
    net = Net()
    learner = Bare(kept=net)
    net.layer.bias.requires_grad_(False)
    net.layer.weight.grad = torch.ones(2, 2)
    net.norm.eval()
    saved = learner_state.state_dict(learner)

    net.train()
    net.layer.bias.requires_grad_(True)
    net.layer.bias.grad, net.layer.weight.grad = torch.ones(2), None
    net.cache += 1
    net.calls, net.seen = 7, {"n": 7}
    net.bank.append(torch.ones(1))
    net.added = torch.nn.Linear(1, 1)
    learner_state.load_state_dict(learner, saved)

    assert (net.training, net.norm.training, net.layer.bias.requires_grad) == (True, False, False)
    assert net.layer.bias.grad is None
    assert net.layer.weight.grad is not None
    assert net.layer.weight.grad.tolist() == [[1, 1], [1, 1]]
    assert net.cache.tolist() == [0, 0]
    assert (net.calls, net.seen, len(net.bank)) == (0, {"n": 0}, 1)
    assert not hasattr(net, "added")


def test_an_attribute_that_a_network_makes_when_it_is_called_may_be_missing_at_first() -> None:
    net, fresh = Net(), Net()
    net.shape, net.last = (2, 2), torch.ones(1)
    saved, second = saved_and_read(Bare(kept=net)), Bare(kept=fresh)
    assert learner_state.fits(second, saved)
    learner_state.load_state_dict(second, saved)
    assert (fresh.shape, fresh.last.tolist()) == ((2, 2), [1])


def test_what_a_network_of_a_plugin_holds_and_cannot_be_saved_is_refused() -> None:
    net = Net()
    net.known = {torch.float32}
    with pytest.raises(UsageError, match=r"Bare.kept.known, of type set, cannot be saved: use a l"):
        learner_state.check_savable(Bare(kept=net))
    installed = torch.nn.Linear(1, 1)
    installed.known = {torch.float32}
    learner_state.check_savable(Bare(kept=installed))


def test_a_network_with_state_of_its_own_is_saved_by_its_own_methods() -> None:
    class Counted(torch.nn.Linear):
        hidden: tuple[int, ...] = ()

        def get_extra_state(self) -> Any:
            return torch.tensor(len(self.hidden))

        def set_extra_state(self, state: Any) -> None:
            self.hidden = (0,) * int(state)

    learner = Bare(kept=Counted(1, 1))
    learner.kept.hidden = (0, 0)
    saved = saved_and_read(learner)
    learner.kept.hidden = ()
    learner_state.load_state_dict(learner, saved)
    assert learner.kept.hidden == (0, 0)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    learner = Trained(task())
    learner.step()
    saved = learner_state.state_dict(learner)
    learner.step()
    learner.optimizer.add_param_group({"params": [torch.zeros(1)]})
    before = learner_state.state_dict(learner)
    held = [*learner.net.parameters(), learner.mixed, learner.helper]
    with pytest.raises(UsageError, match="the state of optimizer, a Adam, cannot be restored"):
        learner_state.load_state_dict(learner, saved)
    assert str(learner_state.state_dict(learner)) == str(before)
    now = [*learner.net.parameters(), learner.mixed, learner.helper]
    assert all(one is other for one, other in zip(now, held, strict=True))


def test_parameters_of_a_lazy_layer_are_counted_once_it_has_any() -> None:
    learner = Bare(kept=torch.nn.LazyLinear(2))
    assert learner_state.parameter_count(learner) == 0
    assert learner_state.has_lazy_layers(learner)
    learner.kept(torch.zeros(1, 3))
    assert learner_state.parameter_count(learner) == 8
    assert not learner_state.has_lazy_layers(learner)


def test_copies_of_a_network_s_state_are_restored() -> None:
    """As Reptile keeps them; and on the meta device, for `torch.func.functional_call`."""
    net = torch.nn.Linear(3, 2)
    learner = Bare(kept=copy.deepcopy(net.state_dict()), mean=copy.deepcopy(net).to("meta"))
    weight, saved = net.weight.tolist(), learner_state.state_dict(learner)
    learner.kept["weight"] += 1
    learner_state.load_state_dict(learner, saved)
    assert learner.kept["weight"].tolist() == weight


def test_numbers_that_happen_to_be_one_object_fit_others() -> None:
    both = (0, 0)
    assert learner_state.fits(Bare(a=both, b=both), saved_and_read(Bare(a=(1, 2), b=both)))


# What cannot be restored, what replaced it, and a part of the message.
GONE = {
    "network": (
        torch.nn.Linear(1, 1),
        None,
        "kept, a Linear, .*: it no longer exists",
    ),
    "function": (torch.relu, torch.tanh, "kept, a .*relu, cannot be restored: it no longer exists"),
    "named tuple": (AdamState(tensor(0), 0), None, "kept, a AdamState, cannot be restored"),
}


@pytest.mark.parametrize(("then", "now", "message"), GONE.values(), ids=GONE)
def test_a_part_that_cannot_be_restored_is_named(then: Any, now: Any, message: str) -> None:
    learner = Bare(kept=then)
    saved = learner_state.state_dict(learner)
    learner.kept = now
    with pytest.raises(UsageError, match=message):
        learner_state.load_state_dict(learner, saved)


@dataclasses.dataclass(slots=True)
class Slotted:
    seen: int


class SlottedToo(Slotted):
    """Has attributes as well."""


class Named(list[float]):
    name = ""


class Text(str):
    pass


def named(*values: float) -> Named:
    found = Named(values)
    found.name = "a"
    return found


# What cannot be saved, where it is, its type, and what to use.
REFUSED = [
    (itertools.count(), "", "count", "a list and an index"),
    ([iter([1])], ".0", "list_iterator", "a list and an index"),
    ({"seen": {torch.float32}}, ".seen", "set", "a list"),
    (frozenset({Phase.FIRST}), "", "frozenset", "a list"),
    (array.array("d", [1]), "", "array", "a list"),
    (bytearray(3), "", "bytearray", "bytes"),
    (np.array(["cat", "dog"]), "", "ndarray", "a list, or an array of numbers"),
    (np.array([{}, None]), "", "ndarray", "a list, or an array of numbers"),
    ({torch.zeros(1): 1}, "", "dict", "numbers or texts as its keys"),
    (named(1.0), "", "Named", "a plain list or tuple"),
    (Text("a"), "", "Text", "an object of a Python class without __slots__"),
    (
        types.SimpleNamespace(counts=Slotted(0)),
        ".counts",
        "Slotted",
        "an object of a Python class without __slots__",
    ),
    (SlottedToo(0), "", "SlottedToo", "an object of a Python class without __slots__"),
    (KDTree(np.zeros((3, 2))), "", "KDTree", "an object of a Python class without __slots__"),
]


@pytest.mark.parametrize(("value", "at", "kind", "use"), REFUSED)
def test_other_values_are_refused_by_name(value: Any, at: str, kind: str, use: str) -> None:
    learner = Bare(kept=value)
    with pytest.raises(UsageError) as refused:
        learner_state.state_dict(learner)
    assert str(refused.value) == (
        f"the state of Bare.kept{at}, of type {kind}, cannot be saved: use {use}, or define "
        "state_dict and load_state_dict"
    )
    with pytest.raises(UsageError, match="cannot be saved"):
        learner_state.check_savable(learner)
    assert learner_state.parameter_count(learner) == 0


def test_configuration_is_left_as_it_is() -> None:
    class Helper:
        """Has methods only."""

    loss = torch.nn.functional.cross_entropy
    found = {"kind": torch.nn.Linear, "phase": Phase.FIRST, "dtype": torch.float16, "numpy": np}
    found |= {"out": io.TextIOWrapper(io.BytesIO())}
    learner = Bare(loss=loss, log=logging.getLogger(), helper=Helper(), none=None, **found)
    before = dict(vars(learner))
    learner_state.load_state_dict(learner, saved_and_read(learner))
    assert vars(learner) == before
