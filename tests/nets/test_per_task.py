"""Networks applied to many tasks at once, against one task at a time."""

from __future__ import annotations

import copy
from unittest import mock

import pytest
import torch
from nets import plain
from torch import Tensor, nn
from torch.autograd import forward_ad

from metabench.nets.conv4 import conv4
from metabench.nets.norms import (
    NORMS,
    EpisodeNorm,
    SupportNorm,
    may_keep_statistics,
    normalises_by_task,
)
from metabench.nets.per_task import (
    embed,
    move_running_statistics,
    per_task,
    support_statistics,
)

every_norm = pytest.mark.parametrize("bn", list(NORMS))


def images(*leading: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*leading, 1, 8, 8, generator=g, dtype=torch.float64)


def states(network: nn.Module, tasks: int) -> dict[str, Tensor]:
    """Parameters that differ from task to task."""
    g = torch.Generator().manual_seed(5)
    return {
        name: p.detach() + 0.1 * torch.randn(tasks, *p.shape, generator=g, dtype=p.dtype)
        for name, p in network.named_parameters()
    }


@every_norm
def test_each_task_is_answered_with_its_own_parameters(bn: str) -> None:
    network, x = plain.small_network(bn), images(4, 6)
    state = states(network, 4)
    outputs = per_task(network, state, x)
    for t in range(4):
        expected, _ = plain.forward(network, {n: v[t] for n, v in state.items()}, x[t])
        assert torch.allclose(outputs[t], expected, rtol=1e-10, atol=1e-12)


@every_norm
def test_without_parameters_of_their_own_tasks_share_the_networks(bn: str) -> None:
    network, x = plain.small_network(bn), images(3, 6)
    outputs = per_task(network, {}, x)
    for t in range(3):
        expected, _ = plain.forward(network, dict(network.named_parameters()), x[t])
        assert torch.allclose(outputs[t], expected, rtol=1e-10, atol=1e-12)


def test_statistics_are_those_of_each_support_set_and_normalise_its_queries() -> None:
    network, support, query = plain.small_network("support"), images(3, 5), images(3, 7, seed=1)
    state = states(network, 3)
    statistics = support_statistics(network, state, support)
    names = [n for n, m in network.named_modules() if isinstance(m, SupportNorm)]
    assert list(statistics) == [f"{n}.{part}" for n in names for part in ("mean", "var")]
    outputs = per_task(network, {**state, **statistics}, query)
    for t in range(3):
        params = {n: v[t] for n, v in state.items()}
        _, used = plain.forward(network, params, support[t])
        for i, (mean, var) in enumerate(used):
            assert torch.allclose(statistics[f"{names[i]}.mean"][t], mean, rtol=1e-10, atol=1e-12)
            assert torch.allclose(statistics[f"{names[i]}.var"][t], var, rtol=1e-10, atol=1e-12)
        expected, _ = plain.forward(network, params, query[t], used)
        assert torch.allclose(outputs[t], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bn", ["episode", "running", "none"])
def test_other_networks_have_no_statistics_to_keep(bn: str) -> None:
    assert support_statistics(plain.small_network(bn), {}, images(2, 5)) == {}


def test_collecting_statistics_leaves_the_network_as_it_was() -> None:
    network = plain.small_network("support")
    support_statistics(network, {}, images(2, 5))
    norms = [m for m in network.modules() if isinstance(m, SupportNorm)]
    assert all(m.mean is None and m.collected is None and not m.collecting for m in norms)
    assert not any("mean" in name or "var" in name for name in network.state_dict())
    with pytest.raises(RuntimeError):
        support_statistics(network, {}, torch.rand(2, 5, 3, 8, 8, dtype=torch.float64))
    assert all(m.collected is None and not m.collecting for m in norms)


@every_norm
def test_a_single_value_is_normalised_to_itself(bn: str) -> None:
    """One image of 8x8 ends as a map of 1x1, whose variance is of no use."""
    network, lone = conv4((1, 8, 8), channels=4, bn=bn).double().eval(), images(1)
    assert network(lone).isfinite().all()
    norm = EpisodeNorm(3).double()
    value = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert torch.allclose(norm(value), value, rtol=1e-10, atol=1e-12)


@every_norm
def test_which_networks_normalise_by_task(bn: str) -> None:
    assert normalises_by_task(plain.small_network(bn)) == (bn in ("episode", "support"))


TRAINED = {
    "conv4": lambda: conv4((1, 8, 8), channels=10),
    "conv4[pool=false]": lambda: conv4((1, 8, 8), channels=4, pool=False),
    "torch's own norms, behind biases": lambda: nn.Sequential(
        nn.Conv2d(1, 10, 3),
        nn.BatchNorm2d(10, momentum=0.3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(10, 4, 3),
        nn.BatchNorm2d(4),
        nn.Flatten(),
    ),
    "a first block that is fixed but for its offset": lambda: fixed(conv4((1, 8, 8), channels=10)),
    "a norm that stays as it is": lambda: partly_eval(conv4((1, 8, 8), channels=10)),
    "a norm that counts no batches": lambda: uncounted(conv4((1, 8, 8), channels=10)),
}


def fixed(network: nn.Sequential) -> nn.Sequential:
    network[0].weight.requires_grad_(False)  # type: ignore[operator]
    network[1].weight.requires_grad_(False)  # type: ignore[operator]
    return network


def partly_eval(network: nn.Sequential) -> nn.Sequential:
    network[1].train = lambda mode: network[1]  # type: ignore[assignment]
    network[1].training = False
    return network


def uncounted(network: nn.Sequential) -> nn.Sequential:
    network[1].num_batches_tracked = None  # type: ignore[assignment]
    return network


@pytest.mark.parametrize("name", TRAINED)
def test_embedding_trains_a_network_as_calling_it_does(name: str) -> None:
    torch.manual_seed(0)
    embedded = TRAINED[name]().double().train()
    norms = [part for part in embedded.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, -0.5, 1.5)
    called = copy.deepcopy(embedded)
    for seed in range(3):  # statistics move from batch to batch
        x = images(2, 5, seed=seed)
        ours, theirs = embed(embedded, x, (1, 8, 8)), called(x.flatten(0, 1)).view(2, 5, -1)
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
        gradients = [
            torch.autograd.grad(
                outputs.square().sum(), [p for p in network.parameters() if p.requires_grad]
            )
            for outputs, network in ((ours, embedded), (theirs, called))
        ]
        for one, other in zip(*gradients, strict=True):
            assert (one - other).norm() <= 1e-10 * (1 + other.norm())
    for part, value in called.state_dict().items():
        assert torch.allclose(embedded.state_dict()[part], value, rtol=1e-10, atol=1e-12), part
    assert norms[-1].num_batches_tracked == 3


def test_a_network_in_training_whose_layers_are_known_is_not_gone_through_by_torch() -> None:
    network = conv4((1, 8, 8), channels=4).double().train()
    with mock.patch.object(nn.Conv2d, "forward", side_effect=AssertionError):
        assert embed(network, images(3), (1, 8, 8)).requires_grad
        with pytest.raises(AssertionError):
            embed(network.eval(), images(3), (1, 8, 8))


def test_directional_derivatives_see_torchs_own_operators() -> None:
    network = plain.small_network("episode")
    state, x = states(network, 2), images(2, 5)
    along = {name: torch.ones_like(value) for name, value in state.items()}
    _, ours = torch.func.jvp(lambda s: per_task(network, s, x), (state,), (along,))
    step = 1e-6
    ahead, behind = (
        per_task(network, {n: v + sign * step for n, v in state.items()}, x) for sign in (1, -1)
    )
    assert torch.allclose(ours, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)
    with forward_ad.dual_level():
        dual = {n: forward_ad.make_dual(v, along[n]) for n, v in state.items()}
        tangent = forward_ad.unpack_dual(per_task(network, dual, x)).tangent
    assert torch.allclose(tangent, ours, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("leading", [(5,), (2, 3), (2, 1, 3)])
def test_embedding_keeps_leading_dimensions(leading: tuple[int, ...]) -> None:
    module = conv4((1, 8, 8)).double().eval()
    x = images(*leading)
    one_by_one = torch.stack([module(image[None])[0] for image in x.reshape(-1, 1, 8, 8)])
    features = embed(module, x, (1, 8, 8))
    assert features.shape == (*leading, 64)
    assert torch.allclose(features.reshape(-1, 64), one_by_one, rtol=1e-10, atol=1e-12)


@every_norm
def test_embedding_keeps_tasks_apart(bn: str) -> None:
    body, x = plain.small_network(bn)[0], images(3, 6)
    features = embed(body, x, (1, 8, 8))
    for t in range(3):
        assert torch.allclose(features[t], body(x[t]), rtol=1e-10, atol=1e-12)


def test_torchs_batch_norm_without_running_statistics_keeps_tasks_apart_too() -> None:
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()
    )
    body.double().eval()
    x = images(3, 6)
    assert normalises_by_task(body)
    features = embed(body, x, (1, 8, 8))
    for t in range(3):
        assert torch.allclose(features[t], body(x[t]), rtol=1e-10, atol=1e-12)


def test_which_networks_have_running_statistics() -> None:
    assert may_keep_statistics(plain.small_network("running"))
    assert may_keep_statistics(nn.Sequential(nn.BatchNorm1d(3)))
    assert may_keep_statistics(nn.Sequential(nn.InstanceNorm1d(3, track_running_stats=True)))
    assert not may_keep_statistics(nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)))
    assert not may_keep_statistics(nn.Sequential(nn.InstanceNorm1d(3)))
    assert not may_keep_statistics(plain.small_network("support"))


class OwnNorm(nn.Module):
    """A norm of a plugin, whose mean moves by assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x - self.mean
        mean = x.mean((0, 2, 3))[:, None, None]
        self.mean = 0.9 * self.mean + 0.1 * mean.detach()
        return x - mean


@pytest.mark.parametrize(
    "norm",
    [
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.SyncBatchNorm(4),
        OwnNorm(),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_running_statistics_of_any_norm_move(norm: nn.Module) -> None:
    moved = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.Flatten()).double().eval()
    called, before = copy.deepcopy(moved), copy.deepcopy(moved.state_dict())
    episodes = plain.small_episodes("running")
    move_running_statistics(moved, episodes)
    called.train()(torch.cat([episodes.support.x, episodes.query.x], dim=1).flatten(0, 1))
    for name, value in called.named_buffers():
        assert not torch.equal(value, before[name]) or name.endswith("num_batches_tracked")
        assert torch.allclose(moved.get_buffer(name), value, rtol=1e-10, atol=1e-12), name


@every_norm
def test_running_statistics_move_by_all_examples_as_in_training(bn: str) -> None:
    moved, episodes = plain.small_network(bn), plain.small_episodes(bn)
    called = copy.deepcopy(moved)
    move_running_statistics(moved, episodes)
    if bn == "running":
        called.train()(torch.cat([episodes.support.x, episodes.query.x], dim=1).flatten(0, 1))
        assert not torch.equal(
            called[0][1].running_mean, plain.small_network(bn)[0][1].running_mean
        )  # type: ignore[index]
    for name, value in called.state_dict().items():
        assert torch.allclose(moved.state_dict()[name], value, rtol=1e-10, atol=1e-12), name
    assert not any(part.training for part in moved.modules())
