"""MAML and Meta-SGD: what they learn, and that it is what the papers say."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from nets import plain
from torch import Tensor, nn

from metabench import Backbone, Episodes, Support, TaskSpec, UsageError
from metabench.nets.backbones import BACKBONES
from metabench.worker import learner_state
from metabench_plugins.maml import Maml
from metabench_plugins.meta_sgd import MetaSgd

both = pytest.mark.parametrize("learner_type", [Maml, MetaSgd])


def build(learner_type: type[Maml], bn: str = "support", **params: Any) -> Maml:
    """A small learner in float64."""
    spec = TaskSpec((1, 8, 8), way=3, shot=2, backbones={b.name: b for b in BACKBONES})
    learner = learner_type(spec, backbone=f"conv4[channels=4,bn={bn}]", inner_lr=0.3, **params)
    for module in (learner.network, learner.rates):
        module.double()
    return learner


def learnables(learner: Maml) -> dict[str, Tensor]:
    rates = {f"rate {i}": rate for i, rate in enumerate(learner.rates)}
    return {**dict(learner.network.named_parameters()), **rates}


def episodes_for(learner: Maml) -> Episodes:
    return plain.small_episodes("episode", way=learner.task.way)


@both
@pytest.mark.parametrize("bn", ["episode", "support", "running", "none"])
@pytest.mark.parametrize("first_order", [True, False])
def test_its_gradient_is_that_of_the_loop_written_out(
    learner_type: type[Maml], bn: str, first_order: bool
) -> None:
    learner = build(learner_type, bn, inner_steps=2, first_order=first_order)
    episodes, learned = episodes_for(learner), learnables(learner)
    theirs = plain.meta_loss(
        learner.network,
        dict(learner.network.named_parameters()),
        episodes,
        learner.step_sizes(),
        count=2,
        second_order=not first_order,
    )
    expected = torch.autograd.grad(theirs, list(learned.values()))
    ours = torch.autograd.grad(learner.meta_loss(episodes), list(learned.values()))
    for name, one, two in zip(learned, ours, expected, strict=True):
        assert (one - two).norm() <= 1e-10 * two.norm().clamp_min(1e-6), name


@both
def test_second_derivatives_count_unless_left_out(learner_type: type[Maml]) -> None:
    grads = []
    for first_order in (True, False):
        learner = build(learner_type, first_order=first_order)
        loss = learner.meta_loss(episodes_for(learner))
        of_each = torch.autograd.grad(loss, list(learner.network.parameters()))
        grads.append(torch.cat([grad.flatten() for grad in of_each]))
    first, second = grads
    assert (first - second).norm() > 0.1 * second.norm()


@both
@pytest.mark.parametrize("bn", ["episode", "support", "running", "none"])
def test_one_outer_update_changes_everything_that_is_learned(
    learner_type: type[Maml], bn: str
) -> None:
    learner = build(learner_type, bn)
    before = {name: value.detach().clone() for name, value in learnables(learner).items()}
    loss = learner.meta_step(episodes_for(learner))
    assert loss == pytest.approx(torch.tensor(3.0).log().item(), abs=1.0)
    for name, value in learnables(learner).items():
        assert not torch.equal(value, before[name]), name


@both
def test_an_update_in_parts_is_the_same_update(learner_type: type[Maml]) -> None:
    whole, parts = build(learner_type), build(learner_type)
    parts.task = replace(parts.task, tasks_at_once=2)
    losses = [learner.meta_step(episodes_for(learner)) for learner in (whole, parts)]
    assert (whole.tasks_at_once, parts.tasks_at_once) == (3, 2)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for one, other in zip(learnables(whole).values(), learnables(parts).values(), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_step_sizes_start_equal_and_are_part_of_the_state() -> None:
    learner, fresh = build(MetaSgd), build(MetaSgd)
    for rate in learner.rates:
        assert torch.allclose(rate, torch.full_like(rate, 0.3))
    shapes = [p.shape for p in learner.network.parameters()]
    assert [rate.shape for rate in learner.rates] == shapes
    episodes = episodes_for(learner)
    learner.meta_step(episodes)
    learner_state.load_state_dict(fresh, learner_state.state_dict(learner))
    for one, two in zip(learner.rates, fresh.rates, strict=True):
        assert torch.equal(one, two)
    assert learner.meta_step(episodes) == fresh.meta_step(episodes)  # Adam's moments too
    assert learner_state.parameter_count(learner) == 2 * learner_state.parameter_count(build(Maml))


@both
@pytest.mark.parametrize("adapt_steps", [0, 1, 4])
def test_at_test_it_takes_as_many_steps_as_asked_for(
    learner_type: type[Maml], adapt_steps: int
) -> None:
    learner = build(learner_type, inner_steps=2, adapt_steps=adapt_steps)
    episodes = episodes_for(learner)
    outputs = learner.predict(learner.adapt(episodes.support), episodes.query.x)
    params = dict(learner.network.named_parameters())
    rates = learner.step_sizes()
    for t, (support, query) in enumerate(episodes):
        adapted = plain.steps(
            learner.network, params, support, rates, adapt_steps or 2, second_order=False
        )
        _, statistics = plain.forward(learner.network, adapted, support.x)
        expected, _ = plain.forward(learner.network, adapted, query.x, statistics)
        assert torch.allclose(outputs[t], expected, atol=1e-10)


def test_running_statistics_follow_the_training_images() -> None:
    learner, episodes = build(Maml, bn="running"), episodes_for(build(Maml))
    norms = [m for m in learner.network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = copy.deepcopy([m.running_mean for m in norms])
    learner.meta_step(episodes)
    assert all(not torch.equal(m.running_mean, b) for m, b in zip(norms, before, strict=True))  # type: ignore[arg-type]
    assert not any(m.training for m in learner.network.modules())
    settled = copy.deepcopy([m.running_mean for m in norms])
    learner.predict(learner.adapt(episodes.support), episodes.query.x)
    assert all(torch.equal(m.running_mean, s) for m, s in zip(norms, settled, strict=True))  # type: ignore[arg-type]


@both
def test_training_episodes_of_more_classes_than_outputs_are_refused(
    learner_type: type[Maml],
) -> None:
    with pytest.raises(UsageError, match=r"5-way, the head has 3 outputs.*train_way=3"):
        build(learner_type).meta_step(plain.small_episodes("episode", way=5))


@both
@pytest.mark.parametrize("wrong", [{"inner_steps": 0}, {"adapt_steps": -1}])
def test_impossible_numbers_of_steps_are_refused(
    learner_type: type[Maml], wrong: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}="):
        build(learner_type, **wrong)


@pytest.mark.slow
@both
def test_it_learns_to_regress_sinusoids(learner_type: type[Maml]) -> None:
    spec = TaskSpec(
        (1,), way=1, shot=5, kind="regression", backbones={b.name: b for b in BACKBONES}
    )
    learner = learner_type(spec, backbone="mlp", inner_lr=0.02)
    g = torch.Generator().manual_seed(0)

    def draw(tasks: int) -> Episodes:
        phase = torch.rand(tasks, 1, 1, generator=g) * torch.pi
        x = torch.rand(tasks, 15, 1, generator=g) * 10 - 5
        y = 2 * torch.sin(x - phase)
        return Episodes(Support(x[:, :5], y[:, :5]), Support(x[:, 5:], y[:, 5:]), way=1)

    test = draw(200)

    def error() -> float:
        values = learner.predict(learner.adapt(test.support), test.query.x)
        return (values - test.query.y).square().mean().item()

    before = error()
    for _ in range(1000):
        learner.meta_step(draw(8))
    assert before > 1.5  # the variance of the targets is 2
    assert error() < 0.6 * before


@both
def test_parameters_that_require_no_gradient_stay_as_they_are(learner_type: type[Maml]) -> None:
    def half_frozen(input_shape: tuple[int, ...], channels: int, bn: str) -> nn.Module:
        layers = [nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, channels)]
        layers[1].requires_grad_(False)
        return nn.Sequential(*layers)

    frozen = Backbone("conv4", half_frozen, params={"channels": 4, "bn": ""})
    spec = TaskSpec((1, 8, 8), way=3, shot=2, backbones={"conv4": frozen})
    learner = learner_type(spec, backbone="conv4", inner_lr=0.3)
    for module in (learner.network, learner.rates):
        module.double()
    before = copy.deepcopy(learner.network.state_dict())
    episodes = episodes_for(learner)
    learner.meta_step(episodes)
    state = learner.adapt(episodes.support)
    moved = {
        name
        for name, value in learner.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == set(learner.theta()) == set(state)
    assert "0.1.weight" not in moved
    assert "0.3.weight" in moved
    assert torch.isfinite(learner.predict(state, episodes.query.x)).all()
