"""Rules that hold for every built-in algorithm."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import metabench_plugins
from metabench import BatchedLearner, Learner, Support
from metabench.learner import load
from metabench.worker import learner_state
from metabench.worker.answering import as_batched

ALGORITHMS = list(metabench_plugins.metabench_algorithms())
NAMES = [a.name for a in ALGORITHMS]
BATCHED = [a.name for a in ALGORITHMS if issubclass(load(a.build), BatchedLearner)]  # type: ignore[arg-type]
# The others treat classes differently: by their initialisation, or by what each draws.
EQUIVARIANT = ["pixel-1nn", "untrained", "pca-lr", "pretrained", "protonet"]

every = pytest.mark.parametrize("name", NAMES)


def answers(learner: Learner, support: Support, query_x: Tensor) -> Tensor:
    batched = as_batched(learner)
    return batched.predict(batched.adapt(support), query_x)


@every
@pytest.mark.parametrize(
    ("way", "shot", "queries", "size"), [(5, 1, 15, 8), (2, 3, 1, 8), (20, 1, 4, 28)]
)
def test_any_shape_gets_finite_logits(
    name: str, way: int, shot: int, queries: int, size: int, trained: Any, episodes: Any
) -> None:
    if name in ("pca-lr", "sgd"):
        size = 8  # the components of more pixels take seconds
    learner = trained(name, way=way, shot=shot, size=size)
    logits = answers(learner, *episodes(2, way, shot, queries, size))
    assert logits.shape == (2, queries, way)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every
def test_adapting_is_pure(name: str, trained: Any, episodes: Any) -> None:
    learner = trained(name)
    support, query = episodes(2, 5, 1, 6, 8)
    other, _ = episodes(2, 5, 1, 6, 8, seed=1)
    given = copy.deepcopy((support, query))
    before = learner_state.state_dict(learner)
    first = answers(learner, support, query)
    answers(learner, other, query)
    assert torch.equal(answers(learner, support, query), first)
    assert all(torch.equal(a, b) for a, b in zip(support, given[0], strict=True))
    assert torch.equal(query, given[1])
    assert_equal_states(learner_state.state_dict(learner), before)


def assert_equal_states(one: Any, two: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal_states(one[key], two[key])
    elif isinstance(one, Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


@every
def test_global_generators_are_left_alone(name: str, build: Any, episodes: Any) -> None:
    def generators() -> list[Any]:
        return [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]

    before = generators()
    answers(build(name), *episodes(1, 5, 1, 2, 8))
    assert generators() == before


@every
def test_each_query_is_answered_for_itself(name: str, trained: Any, episodes: Any) -> None:
    learner = trained(name)
    support, query = episodes(1, 5, 1, 6, 8)
    together = answers(learner, support, query)
    alone = torch.cat([answers(learner, support, query[:, q : q + 1]) for q in range(6)], dim=1)
    assert torch.allclose(together, alone, atol=1e-4)
    backwards = answers(learner, support, query.flip(1))
    assert torch.allclose(together, backwards.flip(1), atol=1e-4)


@every
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_autograd_modes_change_nothing(
    name: str, mode: Callable[[], Any], trained: Any, episodes: Any
) -> None:
    learner = trained(name)
    support, query = episodes(1, 5, 1, 6, 8)
    with mode():
        logits = answers(learner, support, query)
    assert not logits.requires_grad
    assert torch.equal(logits, answers(learner, support, query))


@every
def test_networks_rest_in_eval_mode(name: str, trained: Any) -> None:
    networks = [v for v in vars(trained(name)).values() if isinstance(v, nn.Module)]
    assert not any(part.training for network in networks for part in network.modules())


@pytest.mark.parametrize("name", BATCHED)
def test_many_tasks_at_once_equal_one_at_a_time(name: str, trained: Any, episodes: Any) -> None:
    learner = trained(name)
    support, query = episodes(7, 5, 1, 6, 8)
    for value in vars(learner).values():
        if isinstance(value, nn.Module):
            value.double()
    support = Support(support.x.double(), support.y)
    many = answers(learner, support, query.double())
    tasks = [(Support(support.x[[t]], support.y[[t]]), query[[t]].double()) for t in range(7)]
    one = torch.cat([answers(learner, *task) for task in tasks])
    assert many.dtype == torch.float64
    assert torch.allclose(many, one, atol=1e-9)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_outputs_follow_the_labels(name: str, trained: Any, episodes: Any) -> None:
    learner = trained(name)
    support, query = episodes(1, 5, 1, 6, 8)
    renamed = torch.tensor([3, 1, 4, 0, 2])
    logits = answers(learner, support, query)
    permuted = answers(learner, Support(support.x, renamed[support.y]), query)
    assert torch.allclose(permuted[..., renamed], logits, atol=1e-3)


@every
def test_the_state_carries_over_to_a_new_learner(
    name: str, build: Any, trained: Any, episodes: Any
) -> None:
    learner, fresh = trained(name), build(name)
    learner_state.load_state_dict(fresh, learner_state.state_dict(learner))
    support, query = episodes(1, 5, 1, 6, 8)
    assert torch.equal(answers(fresh, support, query), answers(learner, support, query))
