"""Outer updates computed a few tasks at a time."""

from __future__ import annotations

import pytest
import torch
from nets import plain
from torch import Tensor, nn

from metabench import Episodes, Support
from metabench.nets.shapes import activation_bytes
from metabench.nets.task_batches import TaskGradients, tasks_at_once


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 9])
def test_gradients_and_loss_are_those_of_all_tasks_together(at_once: int) -> None:
    network, episodes = plain.small_network("episode"), plain.small_episodes("episode", tasks=5)
    params = dict(network.named_parameters())
    asked = []

    def mean_loss(part: Episodes) -> Tensor:
        asked.append(len(part))
        return plain.meta_loss(network, params, part, 0.3, 1)

    loss = TaskGradients(params.values()).add(mean_loss, episodes, at_once)
    assert sum(asked) == 5
    assert max(asked) == min(at_once, 5)
    whole = plain.meta_loss(network, params, episodes, 0.3, 1)
    assert loss == pytest.approx(whole.item(), rel=1e-12)
    for p, expected in zip(
        params.values(), torch.autograd.grad(whole, list(params.values())), strict=True
    ):
        assert torch.allclose(p.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("at_once", [2, 4])
def test_parameters_that_autograd_gives_one_gradient_have_one_each(at_once: int) -> None:
    a, b, fixed = (nn.Parameter(torch.tensor(value).double()) for value in (0.3, 0.4, 0.5))
    fixed.requires_grad_(False)
    episodes = plain.small_episodes("mlp", tasks=4)

    def mean_loss(tasks: Episodes) -> Tensor:
        return (tasks.query.x * (a + b) * fixed).square().mean()

    TaskGradients([a, b, fixed]).add(mean_loss, episodes, at_once)
    (expected,) = torch.autograd.grad(mean_loss(episodes), a)
    assert fixed.grad is None
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.data_ptr() != b.grad.data_ptr()
    assert torch.allclose(torch.stack([a.grad, b.grad]), expected, rtol=1e-12)


def test_gradients_have_the_strides_of_their_parameters() -> None:
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    parameter = nn.Parameter(weight)
    episodes = plain.small_episodes("mlp", tasks=2)
    TaskGradients([parameter]).add(
        lambda tasks: parameter.contiguous().flatten().cumsum(0).square().mean(), episodes, 2
    )
    assert parameter.grad is not None
    assert parameter.grad.stride() == parameter.stride()


def test_an_accelerator_has_memory_for_more_tasks() -> None:
    episodes = plain.small_episodes("episode", tasks=10)
    each = 384 * 2**20 // (18 * 4)
    elsewhere = Episodes(
        *(Support(part.x.to("meta"), part.y) for part in (episodes.support, episodes.query)), 3
    )
    assert tasks_at_once(elsewhere, each, steps=1) == 10


def test_parts_fit_into_memory() -> None:
    episodes = plain.small_episodes("episode", tasks=10)  # 6 support and 12 query images each
    assert tasks_at_once(episodes, activation_bytes=1, steps=1) == 10
    each = 384 * 2**20 // (18 * 4)  # so that four tasks fit
    assert tasks_at_once(episodes, each, steps=1) == 4  # 4, 4, 2
    assert tasks_at_once(episodes, each, steps=3) == 2  # (3 * 6 + 12) images a task
    assert tasks_at_once(episodes, 2**40, steps=1) == 1


def test_a_layers_outputs_are_counted_for_one_example() -> None:
    network = plain.small_network("none")  # conv4 with 4 channels on 8x8, then a linear layer
    convolved = [8 * 8, 4 * 4, 2 * 2, 1]
    pooled = [4 * 4, 2 * 2, 1]
    values = 4 * (2 * sum(convolved) + sum(pooled)) + 4 + 3  # ReLU too; flattened; logits
    assert activation_bytes(network, (1, 8, 8)) == 8 * values
