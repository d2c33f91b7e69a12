"""Functions that a GPU does again. Without one, what is recorded is played by a stand-in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
import torch
from nets import plain
from torch import Tensor

from metabench import Episodes, Support, UsageError
from metabench.nets import cuda_graphs, task_batches
from metabench.nets.cuda_graphs import Recording, Replayed
from metabench.nets.inner_loop import sgd_steps, task_losses
from metabench.nets.per_task import per_task
from metabench.nets.task_batches import TaskGradients

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Frozen:
    """A recording of a function of one number that multiplies: it never looks again."""

    made = 0

    def __init__(self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> None:
        Frozen.made += 1
        self.factor = function(torch.ones(1))[0]

    def __call__(self, value: Tensor) -> list[Tensor]:
        return [self.factor * value]


class Multiplies:
    def __init__(self) -> None:
        self.factor, self.calls = 2.0, 0

    def __call__(self, value: Tensor) -> list[Tensor]:
        self.calls += 1
        return [self.factor * value]


ONE = torch.ones(1)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[Frozen]:
    monkeypatch.setattr(cuda_graphs, "Recording", Frozen)
    monkeypatch.setattr(Frozen, "made", 0)
    return Frozen


def value(outputs: Sequence[Tensor | None]) -> float:
    (output,) = outputs
    assert output is not None
    return output.item()


def test_the_second_call_is_recorded_and_later_ones_replay_it(stand_in: type[Frozen]) -> None:
    function, replayed = Multiplies(), Replayed("f")
    found = [value(replayed(function, torch.tensor([float(n)]))) for n in range(1, 10)]
    assert found == [2.0 * n for n in range(1, 10)]
    assert stand_in.made == 1
    assert function.calls == 3  # twice for itself, once to be recorded


@pytest.mark.parametrize(
    ("changed_at", "found_at"), [(5, 10), (10, 20), (79, 80), (81, 160), (640, 1000), (1000, 1280)]
)
def test_a_function_that_changes_is_found_out(
    changed_at: int, found_at: int, stand_in: type[Frozen]
) -> None:
    function, replayed = Multiplies(), Replayed("my_loss")
    for _ in range(changed_at):
        replayed(function, ONE)
    function.factor = 2.1
    for _ in range(changed_at + 1, found_at):
        replayed(function, ONE)
    with pytest.raises(UsageError, match=rf"my_loss no longer gives .* \(call {found_at}\)"):
        replayed(function, ONE)


def test_what_differs_from_its_recording_is_not_replayed(stand_in: type[Frozen]) -> None:
    counts, replayed = iter(range(1, 10)), Replayed("f")
    found = [value(replayed(lambda x: [next(counts) * x], ONE)) for _ in range(5)]
    assert found == [1, 2, 4, 5, 6]  # 3 was the recording's
    assert stand_in.made == 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0.0])
def test_a_recording_that_gives_nonsense_is_not_replayed(
    wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "Recording", lambda *_: lambda x: [wrong * x])
    replayed = Replayed("f")
    assert [value(replayed(Multiplies(), ONE)) for _ in range(5)] == [2.0] * 5


def test_a_gradient_that_is_rounding_alone_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = iter([1, -1] * 20)

    def function(x: Tensor) -> list[Tensor | None]:
        return [x, 1e-9 * next(signs) * x, None]

    monkeypatch.setattr(cuda_graphs, "Recording", lambda function, _: function)
    replayed = Replayed("f")
    for _ in range(12):
        replayed(function, ONE)
    assert replayed.recording is not None


def test_what_cannot_be_recorded_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Recording:
        raise RuntimeError("called a synchronizing CUDA operation\nand more")

    monkeypatch.setattr(cuda_graphs, "Recording", refuse)
    function, replayed = Multiplies(), Replayed("my_loss")
    with pytest.warns(RuntimeWarning, match="my_loss is not recorded: called a .* operation$"):
        found = [value(replayed(function, ONE)) for _ in range(20)]
    assert found == [2.0] * 20
    assert function.calls == 20
    assert replayed.refused


def test_looking_for_what_waits_is_quiet_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str | int] = [1]

    def set_mode(mode: str | int) -> None:
        modes.append(mode)
        if len(modes) == 2:
            warnings.warn("Synchronization debug mode is a prototype", UserWarning, stacklevel=2)

    def wait() -> None:
        with cuda_graphs._nothing_waits():
            warnings.warn("the loss's own", UserWarning, stacklevel=1)
            raise RuntimeError("waits")

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match="waits"):
            wait()
    assert modes == [1, "error", 1]
    assert [str(warning.message) for warning in caught] == ["the loss's own"]


class Again:
    """A recording that computes again."""

    made: ClassVar[list[int]] = []  # tasks in the part that was recorded

    def __init__(self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> None:
        Again.made.append(len(inputs[0]))
        self.function = function

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        return self.function(*inputs)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> type[Again]:
    monkeypatch.setattr(cuda_graphs, "Recording", Again)
    monkeypatch.setattr(task_batches, "_records", lambda part: True)
    monkeypatch.setattr(Again, "made", [])
    return Again


def scale_loss(scale: torch.nn.Parameter) -> Callable[[Episodes], Tensor]:
    return lambda tasks: (scale * tasks.query.x).square().mean()


@pytest.mark.parametrize(
    ("at_once", "settings", "made"),
    [
        (5, (1, 1, 1), [5]),
        (3, (1, 1, 1), [3, 2]),
        (5, (1, 2, 1, 2), [5, 5]),  # other settings, other recordings
        (5, (1, 2, 3, 1, 2, 3), [5, 5]),  # and no more than two
        (2, (1, 1), [2, 1]),  # two parts of two tasks are alike
    ],
)
def test_each_kind_of_part_has_a_recording(
    at_once: int, settings: tuple[int, ...], made: list[int], as_on_a_gpu: type[Again]
) -> None:
    scale = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    gradients = TaskGradients([scale])
    for seed, setting in enumerate(settings):
        episodes = plain.small_episodes("mlp", tasks=5, seed=seed)
        scale.grad = None
        loss = gradients.add(scale_loss(scale), episodes, at_once, setting)
        whole = scale_loss(scale)(episodes)
        (expected,) = torch.autograd.grad(whole, scale)
        assert loss == pytest.approx(whole.item(), rel=1e-12)
        assert torch.allclose(scale.grad, expected, rtol=1e-12)
    assert as_on_a_gpu.made == made


def test_parameters_that_moved_are_recorded_again(as_on_a_gpu: type[Again]) -> None:
    scale = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    gradients, episodes = TaskGradients([scale]), plain.small_episodes("mlp", tasks=5)
    for _ in range(2):
        elsewhere = scale.data.clone()
        for _ in range(3):
            gradients.add(scale_loss(scale), episodes, 5)
        scale.data = elsewhere
    assert as_on_a_gpu.made == [5, 5]


def test_after_one_refusal_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(_: object, inputs: Sequence[Tensor]) -> Recording:
        tried.append(len(inputs[0]))
        raise RuntimeError("no")

    monkeypatch.setattr(cuda_graphs, "Recording", refuse)
    monkeypatch.setattr(task_batches, "_records", lambda part: True)
    scale = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    gradients = TaskGradients([scale])

    def add(*tasks: int) -> None:
        for count in tasks:
            gradients.add(scale_loss(scale), plain.small_episodes("mlp", tasks=count), 5)

    with pytest.warns(RuntimeWarning, match="is not recorded: no"):
        add(5, 5, 4, 4)
    assert tried == [5]


def on_gpu(episodes: Episodes) -> Episodes:
    def of(labelled: Support) -> Support:
        return Support(labelled.x.cuda(), labelled.y.cuda())

    return Episodes(of(episodes.support), of(episodes.query), episodes.way)


@needs_cuda
@pytest.mark.parametrize("at_once", [3, 5])
def test_a_gpu_replays_the_gradients_that_it_would_compute(at_once: int) -> None:
    network, other = (plain.small_network("episode").cuda() for _ in range(2))
    params, others = dict(network.named_parameters()), dict(other.named_parameters())
    asked = []

    def mean_loss(tasks: Episodes) -> Tensor:
        asked.append(len(tasks))
        adapted = sgd_steps(network, params, tasks.support, 0.3, 1, second_order=True)
        return task_losses(per_task(network, adapted, tasks.query.x), tasks.query.y).mean()

    gradients = TaskGradients(params.values())
    optimizer = torch.optim.SGD(params.values(), 0.1)
    for seed in range(8):
        episodes = on_gpu(plain.small_episodes("episode", tasks=5, seed=seed))
        optimizer.zero_grad()
        loss = gradients.add(mean_loss, episodes, at_once)
        # A graph of the same parameters that is still there may keep a GPU from recording another.
        other.load_state_dict(network.state_dict())
        whole = plain.meta_loss(other, others, episodes, 0.3, 1)
        assert loss == pytest.approx(whole.item(), rel=1e-10)
        for p, expected in zip(
            params.values(), torch.autograd.grad(whole, list(others.values())), strict=True
        ):
            assert (p.grad - expected).norm() <= 1e-10 * (1 + expected.norm())
        optimizer.step()
    parts = 1 if at_once == 5 else 2
    assert len(asked) == parts * 4  # two calls, and twice to record


@needs_cuda
def test_a_function_that_waits_for_the_gpu_is_not_recorded() -> None:
    def waits(value: Tensor) -> list[Tensor]:
        return [value * float(value.sum())]

    def outputs(replayed: Replayed, function: cuda_graphs.Function) -> list[float]:
        inputs = [torch.full((), float(n), device="cuda") for n in range(1, 6)]
        return [value(replayed(function, x)) for x in inputs]

    replayed, stream = Replayed("f"), torch.cuda.current_stream()
    with pytest.warns(RuntimeWarning, match="f is not recorded"):
        assert outputs(replayed, waits) == [n * n for n in range(1, 6)]
    assert replayed.recording is None
    assert torch.cuda.current_stream() == stream
    assert torch.rand(2, device="cuda").isfinite().all()
    another = Replayed("g")
    assert outputs(another, lambda value: [2 * value]) == [2 * n for n in range(1, 6)]
    assert another.recording is not None
