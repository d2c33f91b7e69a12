"""Outer updates computed a few tasks at a time."""

from __future__ import annotations

import pytest
import torch
from nets import plain
from torch import Tensor

from metabench import Episodes
from metabench.nets.by_tasks import TaskGradients, tasks_at_once
from metabench.nets.shapes import activation_bytes


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 9])
def test_gradients_and_loss_are_those_of_all_tasks_together(at_once: int) -> None:
    network, episodes = plain.small_network("episode"), plain.small_episodes("episode", tasks=5)
    params = dict(network.named_parameters())
    asked = []

    def mean_loss(part: Episodes) -> Tensor:
        asked.append(len(part))
        return plain.meta_loss(network, params, part, 0.3, 1)

    gradients = TaskGradients(mean_loss, params.values())
    loss = gradients.add(episodes, at_once)
    assert sum(asked) == 5
    assert max(asked) == min(at_once, 5)
    whole = plain.meta_loss(network, params, episodes, 0.3, 1)
    assert loss == pytest.approx(whole.item(), rel=1e-12)
    for p, expected in zip(
        params.values(), torch.autograd.grad(whole, list(params.values())), strict=True
    ):
        assert torch.allclose(p.grad, expected, rtol=1e-10, atol=1e-12)


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
