from __future__ import annotations

import torch
from torch import nn

from metabench.nets.heads import linear_head


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
