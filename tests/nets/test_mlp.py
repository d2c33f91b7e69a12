from __future__ import annotations

import pytest
import torch

from metabench import UsageError
from metabench.nets.mlp import mlp


def test_it_is_two_hidden_layers_of_forty() -> None:
    network = mlp((1,)).double()
    w1, b1, w2, b2 = network.parameters()
    assert [p.numel() for p in (w1, b1, w2, b2)] == [40, 40, 1600, 40]
    x = torch.linspace(-5, 5, 7, dtype=torch.float64)[:, None]
    expected = ((x @ w1.T + b1).clamp_min(0) @ w2.T + b2).clamp_min(0)
    assert torch.allclose(network(x), expected, atol=1e-12)


@pytest.mark.parametrize(("hidden", "layers"), [(8, 1), (16, 4)])
def test_width_and_depth_are_parameters(hidden: int, layers: int) -> None:
    network = mlp((1, 8, 8), hidden=hidden, layers=layers)
    assert network(torch.rand(3, 1, 8, 8)).shape == (3, hidden)
    assert sum(isinstance(m, torch.nn.Linear) for m in network) == layers


def test_small_first_weights_are_cut_off_and_biases_zero() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = mlp((1,), hidden=200, init_std=0.01)
    first, _, second, bias = network.parameters()
    assert 0.019 < second.abs().max() <= 0.02
    assert first.abs().max() <= 0.02
    assert second.std().item() == pytest.approx(
        0.0088, abs=2e-4
    )  # of a normal cut off at two deviations
    assert (bias == 0).all()


def test_a_negative_deviation_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mlp\[init_std=-1\].*at least 0"):
        mlp((1,), init_std=-1.0)


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"layers": 0}])
def test_a_network_without_units_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=rf"mlp\[{next(iter(wrong))}=0\].*at least 1"):
        mlp((1,), **wrong)
