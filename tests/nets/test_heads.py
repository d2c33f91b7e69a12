from __future__ import annotations

import pytest
import torch
from nets import plain
from torch import nn

from metabench import TaskSpec, UsageError
from metabench.nets.heads import check_way, head_on, linear_head, small_init


def test_a_head_starts_as_torch_would_start_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = nn.Linear(10, 4)
    head = linear_head(10, 4, torch.Generator().manual_seed(3))
    assert torch.allclose(head.weight, expected.weight)
    assert torch.allclose(head.bias, expected.bias)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    linear_head(10, 4, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_on_a_backbone_takes_its_features() -> None:
    body, task = nn.Sequential(nn.Flatten(), nn.Linear(64, 6)), TaskSpec((1, 8, 8), 5, 1, seed=4)
    expected = linear_head(6, 3, task.generator())
    head = head_on(body, task, 3)
    assert torch.equal(head.weight, expected.weight)
    assert torch.equal(head.bias, expected.bias)
    small_init(expected, 0.01, task.generator())
    head = head_on(body, task, 3, std=0.01)
    assert torch.equal(head.weight, expected.weight)
    assert torch.equal(head.bias, expected.bias)


def test_episodes_of_more_classes_than_outputs_are_refused() -> None:
    episodes = plain.small_episodes("episode", way=4)
    check_way(episodes, 4)
    with pytest.raises(UsageError, match=r"4-way, the head has 3 outputs.*train_way=3 or fewer"):
        check_way(episodes, 3)
