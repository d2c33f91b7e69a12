"""Functions that a GPU does again. Without one, what is recorded is played by a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from nets import plain
from torch import Tensor

from metabench import Episodes, Support, UsageError
from metabench.nets import recording
from metabench.nets.by_tasks import TaskGradients
from metabench.nets.inner_loop import sgd_steps, task_losses
from metabench.nets.per_task import per_task
from metabench.nets.recording import Recording, Replayed

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


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[Frozen]:
    monkeypatch.setattr(recording, "Recording", Frozen)
    monkeypatch.setattr(Frozen, "made", 0)
    return Frozen


def test_the_second_call_is_recorded_and_later_ones_replay_it(stand_in: type[Frozen]) -> None:
    function = Multiplies()
    replayed = Replayed(function, "f")
    found = [replayed(torch.tensor([float(n)]))[0].item() for n in range(1, 10)]  # type: ignore[union-attr]
    assert found == [2.0 * n for n in range(1, 10)]
    assert stand_in.made == 1
    assert function.calls == 3  # twice for itself, once to be recorded


def test_a_function_that_changes_is_found_out(stand_in: type[Frozen]) -> None:
    function = Multiplies()
    replayed = Replayed(function, "my_loss")
    for _ in range(9):
        replayed(torch.ones(1))
    function.factor = 3.0
    with pytest.raises(UsageError, match=r"my_loss gives something else .* \(call 10\)"):
        replayed(torch.ones(1))


def test_what_differs_from_its_recording_is_not_replayed(stand_in: type[Frozen]) -> None:
    def counts(value: Tensor) -> list[Tensor]:
        counts.calls += 1  # type: ignore[attr-defined]
        return [counts.calls * value]  # type: ignore[attr-defined]

    counts.calls = 0  # type: ignore[attr-defined]
    replayed = Replayed(counts, "f")
    found = [replayed(torch.ones(1))[0].item() for _ in range(5)]  # type: ignore[union-attr]
    assert found == [1, 2, 4, 5, 6]  # 3 was the recording's
    assert stand_in.made == 1


def test_a_gradient_that_is_rounding_alone_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    class Again:
        def __init__(self, function: Callable[..., Sequence[Tensor]], _: object) -> None:
            self.function = function

        def __call__(self, value: Tensor) -> Sequence[Tensor]:
            return self.function(value)

    signs = iter([1, -1] * 20)
    monkeypatch.setattr(recording, "Recording", Again)
    replayed = Replayed(lambda value: [value, 1e-9 * next(signs) * value, None], "f")
    for _ in range(12):
        replayed(torch.ones(1))
    assert replayed.recording is not None


def test_what_cannot_be_recorded_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Recording:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(recording, "Recording", refuse)
    function = Multiplies()
    replayed = Replayed(function, "f")
    for _ in range(20):
        assert replayed(torch.ones(1))[0] == 2.0
    assert function.calls == 20


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

    gradients = TaskGradients(mean_loss, params.values())
    optimizer = torch.optim.SGD(params.values(), 0.1)
    for seed in range(8):
        episodes = on_gpu(plain.small_episodes("episode", tasks=5, seed=seed))
        optimizer.zero_grad()
        loss = gradients.add(episodes, at_once)
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

    replayed = Replayed(waits, "f")
    for n in range(1, 6):
        assert replayed(torch.full((2,), float(n), device="cuda"))[0].tolist() == [2 * n * n] * 2  # type: ignore[union-attr]
    assert replayed.recording is None
