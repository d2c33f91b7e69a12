"""Networks of any kind for many tasks, and which of them torch maps rightly."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metabench import Support, sgd_steps
from metabench.nets import vmap
from metabench.nets.norms import SupportNorm
from metabench.nets.per_task import per_task, support_statistics


class Branches(nn.Module):
    """Takes another way for dark images: torch cannot map a branch on data."""

    def __init__(self) -> None:
        super().__init__()
        self.bright, self.dark = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bright(x) if x.mean() > 0.5 else self.dark(x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(x + torch.tanh(self.inner(x)))


class WrongWhenMapped(Residual):
    """Reads how many dimensions it is given, as torch shows them to it when it maps."""

    def forward(self, x: Tensor) -> Tensor:
        mapped = torch._C._functorch.is_batchedtensor(x)
        return super().forward(x) * (2 if mapped else 1)


class Tied(nn.Module):
    """Two layers with the same weights, and one activation in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight, self.tanh = self.first.weight, nn.Tanh()
        self.same = self.tanh

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.same(self.second(self.tanh(self.first(x)))))


class OneLayerTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 3)
        self.again = self.inner

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.again(torch.tanh(self.inner(x)))))


class WrongWithOneExample(Residual):
    """As torch's convolutions are in float64 where channels are innermost."""

    def forward(self, x: Tensor) -> Tensor:
        mapped = torch._C._functorch.is_batchedtensor(x)
        return super().forward(x) * (2 if mapped and x.shape[0] == 1 else 1)


def examples(seed: int = 0) -> Tensor:
    return torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(seed))


def states(network: nn.Module) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    return {
        n: p.detach() + torch.randn(4, *p.shape, generator=g) for n, p in network.named_parameters()
    }


def check_each_by_its_own(network: nn.Module, x: Tensor) -> None:
    """Every task's outputs are those of the network with that task's parameters."""
    state = states(network)
    outputs = per_task(network, state, x)
    for t in range(4):
        expected = functional_call(network, {n: v[t] for n, v in state.items()}, (x[t],))
        assert torch.allclose(outputs[t], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        (Residual, True),
        (Branches, False),
        (WrongWhenMapped, False),
        (WrongWithOneExample, False),
    ],
)
def test_whatever_a_network_does_each_task_is_answered_by_its_own(
    kind: type[nn.Module], right: bool
) -> None:
    network, x = kind(), examples()
    assert vmap.is_right(network, x) is right
    x[1] = 0.1  # dark
    check_each_by_its_own(network, x)


def test_a_network_that_one_example_is_too_few_for_is_mapped() -> None:
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    assert vmap.is_right(nn.Sequential(nn.Linear(6, 3), norm), examples())


@pytest.mark.parametrize("kind", [Tied, OneLayerTwice])
def test_shared_weights_are_a_tasks_own_wherever_they_stand(kind: type[nn.Module]) -> None:
    network, x = kind(), examples()
    state = states(network)
    outputs = per_task(network, state, x)
    for t in range(4):
        alone = kind()
        alone.load_state_dict({**alone.state_dict(), **{n: v[t] for n, v in state.items()}})
        assert torch.allclose(outputs[t], alone(x[t]), atol=1e-6)


def test_what_cannot_be_mapped_takes_inner_steps_all_the_same() -> None:
    network = Branches()
    support = Support(examples(), torch.arange(5).remainder(3).expand(4, 5))
    params = dict(network.named_parameters())
    adapted = sgd_steps(network, params, support, 0.1, 2, second_order=True)
    loss = per_task(network, adapted, support.x).square().sum()
    grads = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
    assert any(grad.abs().sum() > 0 for grad in grads)


def test_a_network_is_tried_once_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    is_right = vmap.is_right
    monkeypatch.setattr(vmap, "is_right", lambda *given: tried.append(1) or is_right(*given))
    network, before = Residual(), torch.get_rng_state()
    weights = [p.clone() for p in network.parameters()]
    for _ in range(3):
        per_task(network, states(network), examples())
    assert len(tried) == 1
    assert torch.equal(torch.get_rng_state(), before)
    for now, then in zip(network.parameters(), weights, strict=True):
        assert torch.equal(now, then)
        assert now.grad is None


def test_a_network_is_not_tried_for_a_single_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmap, "is_right", lambda *given: pytest.fail("it was tried"))
    network, x = nn.Sequential(nn.Linear(6, 3), nn.Tanh()), examples()[:1]
    assert torch.equal(per_task(network, {}, x)[0], network(x[0]))


def test_a_network_without_parameters_is_tried_too() -> None:
    assert vmap.is_right(nn.Flatten(), torch.rand(2, 3, 4, 4))


class BranchesAndNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), SupportNorm(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return (y if x.mean() > 0.5 else -y).flatten(1)


def test_statistics_are_collected_one_task_after_another_where_it_has_to_be() -> None:
    network, x = BranchesAndNorm(), torch.rand(3, 4, 1, 5, 5)
    found = support_statistics(network, {}, x)
    for t in range(3):
        mean, var = network.norm.statistics(network.conv(x[t]))
        assert torch.allclose(found["norm.mean"][t], mean, atol=1e-6)
        assert torch.allclose(found["norm.var"][t], var, atol=1e-6)


def shared_layer() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), layer, nn.Tanh(), layer, nn.Linear(6, 3))


def tied_layers() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    network[3].weight = network[1].weight
    return network


@pytest.mark.parametrize("build", [shared_layer, tied_layers])
def test_layers_that_share_parameters_are_the_same_network_after(build) -> None:
    network, x = build(), examples()
    own = dict(network.named_parameters(remove_duplicate=False))
    state = states(network)
    outputs = per_task(network, state, x)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        assert parameter is own[name]
    for t in range(4):
        alone = build()
        alone.load_state_dict({n: v[t] for n, v in state.items()}, strict=False)
        assert torch.allclose(outputs[t], alone(x[t]), atol=1e-5)


def test_a_network_is_tried_in_each_of_its_modes() -> None:
    network, x = nn.Sequential(nn.Linear(6, 6), nn.Dropout(), nn.Linear(6, 3)).eval(), examples()
    state = states(network)
    per_task(network, state, x)
    network.train()  # torch does not map what is random
    assert per_task(network, state, x).shape == (4, 5, 3)


class Counts(Residual):
    """Counts its batches, and remembers the last; mapped, it would count one for all tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("batches", torch.tensor(0))
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.batches += 1
            self.last = x.mean(0)
        return super().forward(x)


class Moves(Counts):
    """Moves a mean by assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y


@pytest.mark.parametrize("kind", [Counts, Moves])
def test_what_a_network_keeps_moves_task_after_task(kind: type[Counts]) -> None:
    network, x = kind().train(), examples()
    alone, state = copy.deepcopy(network), states(network)
    outputs = per_task(network, state, x)
    for t in range(4):
        expected = functional_call(alone, {n: v[t] for n, v in state.items()}, (x[t],))
        assert torch.allclose(outputs[t], expected, atol=1e-6)
    assert network.last is not None
    assert torch.equal(network.last, x[3].mean(0))
    for name, value in alone.named_buffers():
        assert torch.equal(network.get_buffer(name), value), name
    assert vmap.is_right(network.eval(), x)  # nothing moves there


class Caches(Residual):
    scale: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = torch.ones(x.shape[-1], dtype=x.dtype)
        return super().forward(x * self.scale)


def test_a_network_that_fills_a_cache_once_is_mapped() -> None:
    assert vmap.is_right(Caches(), examples())


class BranchesOnMany(Residual):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if len(x) < 4 or x.mean() > 0 else -y


def test_what_is_found_out_late_is_done_one_by_one() -> None:
    network, x = BranchesOnMany(), examples()
    assert vmap.is_right(network, x)
    check_each_by_its_own(network, x)


def test_a_network_is_tried_within_inference_mode_too() -> None:
    network, x = Residual(), examples()
    with torch.inference_mode():
        per_task(network, states(network), x)
    assert list(vmap._known[network].values()) == [True]
