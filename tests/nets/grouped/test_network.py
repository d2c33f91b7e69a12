"""Networks that are read as layers; groups of tasks equal one task at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nets import plain
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations

from metabench.nets.cnn import cnn
from metabench.nets.conv4 import conv4
from metabench.nets.grouped.layers import Convolution, read
from metabench.nets.grouped.network import grouped
from metabench.nets.grouped.patches import columns
from metabench.nets.mlp import mlp
from metabench.nets.norms import NORMS, EpisodeNorm, SupportNorm

TASKS = 3


def conv4_with_head(**params: object) -> nn.Sequential:
    body = conv4((2, 9, 11), channels=20, **params)  # type: ignore[arg-type]
    width = body(torch.rand(2, 2, 9, 11)).shape[1]
    return nn.Sequential(body, nn.Linear(width, 3))


def used_again() -> nn.Sequential:
    relu, pool = nn.ReLU(), nn.MaxPool2d(2)
    first, second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
    dense = (nn.Flatten(), nn.Linear(20, 6), relu, nn.Linear(6, 3))
    return nn.Sequential(first, relu, pool, second, relu, pool, *dense)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{f"conv4[bn={bn}]": lambda bn=bn: conv4_with_head(bn=bn) for bn in NORMS},
    **{
        f"conv4[bn={bn},pool=false]": lambda bn=bn: conv4_with_head(bn=bn, pool=False)
        for bn in NORMS
    },
    "conv4 without a head": lambda: conv4((2, 9, 11), channels=4, bn="episode"),
    "cnn": lambda: nn.Sequential(cnn((2, 9, 11)), nn.Linear(128, 3)),
    "mlp": lambda: nn.Sequential(mlp((2, 9, 11)), nn.Linear(40, 1, bias=False)),
    "one dense layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(11, 3)),
    "torch's own norms, and biases before them": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.ReLU(),
        nn.Conv2d(4, 5, (1, 3), padding=(0, 1)),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 6, 2, stride=(2, 1)),
        EpisodeNorm(6),
        nn.MaxPool2d((2, 2), 2),
        nn.Conv2d(6, 3, 1),
        SupportNorm(3),
        nn.Flatten(),
    ),
    "biases before support statistics and pooling": lambda: nn.Sequential(
        nn.Conv2d(2, 20, 3, padding=1),
        SupportNorm(20),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 5, 3, padding=1),
        SupportNorm(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ),
    "one activation and one pooling, used again": lambda: used_again(),
    "pooling before ReLU, ReLU without normalisation": lambda: nn.Sequential(
        nn.Conv2d(2, 20, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(20, 3, 2), nn.Flatten()
    ),
}

# Their first convolution has more values to a patch than outputs, or there is none.
NOT_BY_PATCHES = {
    "conv4 without a head",
    "mlp",
    "one dense layer",
    "torch's own norms, and biases before them",
    "one activation and one pooling, used again",
}

every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name: str) -> nn.Module:
    """A network whose statistics and weights are as after some training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[name]().double().eval()
        for part in network.modules():
            if isinstance(part, EpisodeNorm | nn.BatchNorm2d):
                nn.init.uniform_(part.weight, -0.5, 1.5)
                nn.init.uniform_(part.bias, -0.3, 0.3)
            if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network


def examples(count: int = 4, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(TASKS, count, 2, 9, 11, generator=g, dtype=torch.float64)


def states(network: nn.Module) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    return {
        name: p.detach() + 0.1 * torch.randn(TASKS, *p.shape, generator=g, dtype=p.dtype)
        for name, p in network.named_parameters()
    }


def one_by_one(network: nn.Module, state: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.stack(
        [
            functional_call(network, {n: v[t] for n, v in state.items()}, (x[t],))
            for t in range(len(x))
        ]
    )


def gradients(
    apply: Callable[[dict[str, Tensor]], Tensor], state: dict[str, Tensor]
) -> list[Tensor]:
    """First, and through a gradient step second."""
    state = {n: v.detach().requires_grad_() for n, v in state.items()}
    first = torch.autograd.grad(
        apply(state).square().sum(), list(state.values()), create_graph=True
    )
    moved = {n: v - 0.1 * g for (n, v), g in zip(state.items(), first, strict=True)}
    second = torch.autograd.grad(apply(moved).square().sum(), list(state.values()))
    return [*first, *second]


def assert_alike(found: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.cpu() - theirs).norm() <= 1e-10 * (1 + theirs.norm())


def inputs_of(name: str, x: Tensor) -> Tensor:
    return x.flatten(2)[:, :, :11] if name == "one dense layer" else x


@every_network
def test_outputs_equal_those_of_one_task_at_a_time(name: str) -> None:
    network, x = made(name), inputs_of(name, examples())
    state = states(network)
    form = grouped(network, state, x)
    assert form is not None
    assert torch.allclose(
        form.outputs(state), one_by_one(network, state, x), rtol=1e-10, atol=1e-12
    )


@every_network
def test_gradients_equal_those_of_one_task_at_a_time(name: str) -> None:
    network, x = made(name), inputs_of(name, examples())
    state = states(network)
    form = grouped(network, state, x)
    assert form is not None
    expected = gradients(lambda state: one_by_one(network, state, x), state)
    assert_alike(gradients(form.outputs, state), expected)


@every_network
def test_a_first_convolution_by_patches_gives_what_another_gives(name: str) -> None:
    network, x = made(name), inputs_of(name, examples())
    state = states(network)
    form, by_patches = grouped(network, state, x), grouped(network, state, x)
    assert form is not None
    assert by_patches is not None
    assert by_patches.columns is None
    first = by_patches.layers[0]
    found = columns(x, first) if isinstance(first, Convolution) else None
    assert (found is None) == (name in NOT_BY_PATCHES)
    by_patches.__dict__["columns"] = found  # as on a GPU
    assert_alike(gradients(by_patches.outputs, state), gradients(form.outputs, state))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_network
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    network, x = made(name), inputs_of(name, examples())
    state = states(network)
    here = grouped(network, state, x)
    assert here is not None
    expected = gradients(here.outputs, state)
    state, x = {n: v.cuda() for n, v in state.items()}, x.cuda()
    there = grouped(network.cuda(), state, x)
    assert there is not None
    assert_alike(gradients(there.outputs, state), expected)


@every_network
def test_weights_that_tasks_share_are_the_networks(name: str) -> None:
    network, x = made(name), inputs_of(name, examples())
    state = states(network)
    last = [n for n in state if n.endswith("weight")][-1]
    for owned in ({last: state[last]}, {n: v for n, v in state.items() if n != last}):
        form = grouped(network, owned, x)
        if form is not None:
            expected = one_by_one(network, owned, x)
            assert torch.allclose(form.outputs(owned), expected, rtol=1e-10, atol=1e-12)


def test_statistics_of_support_sets_are_those_that_the_layers_use() -> None:
    network = made("conv4[bn=support]")
    support, query, state = examples(), examples(5, seed=2), states(network)
    form, found = grouped(network, state, support), {}
    assert form is not None
    form.outputs(state, found)
    assert found
    outputs = grouped(network, state, query).outputs({**state, **found})  # type: ignore[union-attr]
    expected = one_by_one(network, {**state, **found}, query)
    assert torch.allclose(outputs, expected, rtol=1e-10, atol=1e-12)
    for t in range(TASKS):
        params = {n: v[t] for n, v in state.items()}
        _, used = plain.forward(network, params, support[t])  # type: ignore[arg-type]
        flat = [value for pair in used for value in pair]
        for ours, theirs in zip(found.values(), flat, strict=True):
            assert torch.allclose(ours[t], theirs, rtol=1e-10, atol=1e-12)


def test_statistics_of_support_sets_hold_biases_and_signs_of_gains() -> None:
    network = made("biases before support statistics and pooling")
    norms = [part for part in network.modules() if isinstance(part, SupportNorm)]
    assert all((norm.weight < 0).any() for norm in norms)
    x, state, found = examples(), states(network), {}
    form = grouped(network, state, x)
    assert form is not None
    form.outputs(state, found)
    for t in range(TASKS):
        for norm in norms:
            norm.collecting = True
        functional_call(network, {n: v[t] for n, v in state.items()}, (x[t],))
        used = [value for norm in norms for value in norm.collected]  # type: ignore[union-attr]
        for ours, theirs in zip(found.values(), used, strict=True):
            assert torch.allclose(ours[t], theirs, rtol=1e-10, atol=1e-12)


def test_tasks_without_weights_of_their_own_are_not_grouped() -> None:
    network = made("conv4[bn=support]")
    assert grouped(network, {}, examples()) is None
    norms = {n: v for n, v in states(network).items() if ".1." in n}
    assert norms
    assert grouped(network, norms, examples()) is None


def test_tasks_that_would_move_the_same_statistics_are_not_grouped() -> None:
    network = made("conv4[bn=running]").train()
    state = states(network)
    first = {name: value[:1] for name, value in state.items()}
    assert grouped(network, state, examples()) is None
    assert grouped(network, first, examples()[:1]) is not None
    assert grouped(network, first, examples(1)[:1]) is None  # which may have no variance
    own = {"0.1.running_mean": torch.zeros(1, 20, dtype=torch.float64)}
    assert dict(network.named_buffers()).keys() >= own.keys()
    assert grouped(network, {**first, **own}, examples()[:1]) is None


def test_numbers_of_several_types_are_left_to_torch() -> None:
    network, x = made("conv4[bn=episode]"), examples()
    state = states(network)
    assert grouped(network, state, x) is not None
    assert grouped(network, state, x.float()) is None
    assert grouped(network, {n: v.float() for n, v in state.items()}, x) is None
    with torch.autocast("cpu"):
        assert grouped(network, state, x) is None


class Doubled(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_a_hook() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten())
    network[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    return network


def with_another_forward() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten())
    network[1].forward = lambda x: 2 * x
    return network


def with_a_layer_twice() -> nn.Module:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten())


def with_tied_weights() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1), nn.Flatten()
    )
    network[2].weight = network[0].weight
    return network


def without_bias(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    norm.bias = None
    return norm


def no_longer_moved(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    norm.track_running_stats = False
    return norm


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(2, 4, 3), Doubled(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3, dilation=2), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(3), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), EpisodeNorm(4), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), no_longer_moved(nn.BatchNorm2d(4)), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(1), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 1, 3), EpisodeNorm(4), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()),
        nn.Sequential(parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.ReLU(), nn.Linear(3, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 3), nn.Tanh()),
        nn.Sequential(nn.Flatten()),
        with_a_hook(),
        with_another_forward(),
        with_a_layer_twice(),
        with_tied_weights(),
        nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 4, 3), without_bias(nn.BatchNorm2d(4)), nn.Flatten()),
    ],
)
def test_what_is_not_known_to_the_last_detail_is_not_read(network: nn.Module) -> None:
    assert read(network) is None


def test_a_hook_on_every_module_is_not_passed_over() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten())
    assert read(network) is not None
    hook = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert read(network) is None
    finally:
        hook.remove()
