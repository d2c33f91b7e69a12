"""The inner loop against one that is written out, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from nets import plain
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations

from metabench import Episodes, Support, UsageError, sgd_steps
from metabench.nets import vmap as vmap_of_networks
from metabench.nets.inner_loop import answering_state, task_losses
from metabench.nets.norms import EpisodeNorm
from metabench.nets.per_task import per_task

KINDS = ["mlp", "episode", "support", "running", "none"]
LR = 0.3

every_network = pytest.mark.parametrize("kind", KINDS)


def parameters(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_parameters())


def meta_loss(
    network: nn.Module, episodes: Episodes, steps: int, second_order: bool = True
) -> Tensor:
    adapted = sgd_steps(
        network, parameters(network), episodes.support, LR, steps, second_order=second_order
    )
    state = answering_state(network, adapted, episodes.support)
    return task_losses(per_task(network, state, episodes.query.x), episodes.query.y).mean()


def relative_difference(some: list[Tensor], others: list[Tensor]) -> float:
    one, two = (torch.cat([t.flatten() for t in tensors]) for tensors in (some, others))
    return float((one - two).norm() / two.norm())


def gradients(value: Tensor, network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(network.parameters())))


@every_network
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_adapted_parameters_equal_those_of_a_plain_loop(kind: str, steps: int) -> None:
    network, episodes = plain.small_network(kind), plain.small_episodes(kind)
    params = parameters(network)
    adapted = sgd_steps(network, params, episodes.support, LR, steps)
    for t, (support, _) in enumerate(episodes):
        expected = plain.steps(network, params, support, LR, steps, second_order=False)
        for name, value in expected.items():
            assert torch.allclose(adapted[name][t], value, rtol=1e-10, atol=1e-12), name


@every_network
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("second_order", [True, False])
def test_the_meta_gradient_equals_that_of_a_plain_loop(
    kind: str, steps: int, second_order: bool
) -> None:
    network, episodes = plain.small_network(kind), plain.small_episodes(kind)
    ours = meta_loss(network, episodes, steps, second_order)
    theirs = plain.meta_loss(network, parameters(network), episodes, LR, steps, second_order)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert relative_difference(gradients(ours, network), gradients(theirs, network)) < 1e-10


@every_network
def test_the_meta_gradient_equals_finite_differences(kind: str) -> None:
    network, episodes = plain.small_network(kind), plain.small_episodes(kind)
    gradient = gradients(meta_loss(network, episodes, steps=2), network)
    g = torch.Generator().manual_seed(2)
    direction = [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in network.parameters()]
    slope = sum((a * b).sum() for a, b in zip(gradient, direction, strict=True))

    def moved(by: float) -> float:
        for p, d in zip(network.parameters(), direction, strict=True):
            p.data += by * d
        value = meta_loss(network, episodes, steps=2).item()
        for p, d in zip(network.parameters(), direction, strict=True):
            p.data -= by * d
        return value

    step = 1e-6
    assert (moved(step) - moved(-step)) / (2 * step) == pytest.approx(float(slope), rel=1e-5)


@every_network
def test_first_order_gradients_are_others(kind: str) -> None:
    network, episodes = plain.small_network(kind), plain.small_episodes(kind)
    second = gradients(meta_loss(network, episodes, steps=1), network)
    first = gradients(meta_loss(network, episodes, steps=1, second_order=False), network)
    assert relative_difference(first, second) > 1e-3


def test_a_step_size_for_each_parameter_is_used_and_learned() -> None:
    network, episodes = plain.small_network("support"), plain.small_episodes("support")
    params = parameters(network)
    g = torch.Generator().manual_seed(3)
    rates = {
        n: torch.rand(p.shape, generator=g, dtype=p.dtype).requires_grad_()
        for n, p in params.items()
    }
    adapted = sgd_steps(network, params, episodes.support, rates, 2, second_order=True)
    state = answering_state(network, adapted, episodes.support)
    ours = task_losses(per_task(network, state, episodes.query.x), episodes.query.y).mean()
    theirs = plain.meta_loss(network, params, episodes, rates, 2)
    learned = [*params.values(), *rates.values()]
    ours_g, theirs_g = (torch.autograd.grad(v, learned) for v in (ours, theirs))
    assert relative_difference(list(ours_g), list(theirs_g)) < 1e-10
    assert all(g.abs().max() > 0 for g in ours_g)


def test_tasks_may_start_from_parameters_of_their_own() -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    once = sgd_steps(network, parameters(network), episodes.support, LR, 1)
    twice = sgd_steps(network, once, episodes.support, LR, 1)
    expected = sgd_steps(network, parameters(network), episodes.support, LR, 2)
    for name, value in expected.items():
        assert torch.allclose(twice[name], value, atol=1e-12)


def test_losses_are_means_of_each_task() -> None:
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(3, 4, 5, generator=g), torch.randint(5, (3, 4), generator=g)
    values, targets = torch.randn(3, 4, 1, generator=g), torch.randn(3, 4, 1, generator=g)
    for t in range(3):
        assert torch.allclose(task_losses(logits, y)[t], F.cross_entropy(logits[t], y[t]))
        assert torch.allclose(task_losses(values, targets)[t], F.mse_loss(values[t], targets[t]))


class TorchNorm(nn.Module):
    """Torch's own batch normalisation by the batch's statistics."""

    def __init__(self, norm: EpisodeNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)


def with_torchs_norm(network: nn.Sequential) -> nn.Sequential:
    body = network[0]
    for i, layer in enumerate(body):  # type: ignore[arg-type]
        if isinstance(layer, EpisodeNorm):
            body[i] = TorchNorm(layer)  # type: ignore[index, operator]
    return network


@pytest.mark.parametrize("steps", [1, 3])
def test_a_plugins_network_with_torchs_batch_norm_has_the_right_meta_gradient(steps: int) -> None:
    network, episodes = plain.small_network("episode"), plain.small_episodes("episode")
    theirs = plain.meta_loss(network, parameters(network), episodes, LR, steps)
    expected = gradients(theirs, network)
    ours = meta_loss(with_torchs_norm(network), episodes, steps)
    assert relative_difference(gradients(ours, network), expected) < 1e-10


def test_parameters_that_a_network_does_not_use_stay_as_they_are() -> None:
    class Unused(nn.Sequential):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__(*layers)
            self.register_parameter("spare", nn.Parameter(torch.ones(2, dtype=torch.float64)))

    plain_one, episodes = plain.small_network("none"), plain.small_episodes("none")
    network = Unused(*plain_one)
    adapted = sgd_steps(network, parameters(network), episodes.support, LR, 2, second_order=True)
    assert torch.equal(adapted["spare"], torch.ones(3, 2, dtype=torch.float64))
    expected = sgd_steps(plain_one, parameters(plain_one), episodes.support, LR, 2)
    for name, value in expected.items():
        assert torch.allclose(adapted[name], value, rtol=1e-10, atol=1e-12), name


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="found in torch 2.13")
def test_gradients_of_tasks_mapped_with_their_inner_gradient_are_wrong_in_torch() -> None:
    """Why tasks are mapped first and differentiated by ordinary autograd after.

    `grad(vmap(task))` is silently wrong where a convolution stands before `F.batch_norm` and
    the task takes a gradient itself. If this fails, torch has fixed it.
    """
    network, episodes = plain.small_network("episode"), plain.small_episodes("episode")
    right = gradients(plain.meta_loss(network, parameters(network), episodes, LR, 1), network)
    with_torchs_norm(network)

    def task(p: dict[str, Tensor], x: Tensor, y: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
        inner = grad(lambda p: F.cross_entropy(functional_call(network, p, (x,)), y))(p)
        stepped = {n: p[n] - LR * inner[n] for n in p}
        return F.cross_entropy(functional_call(network, stepped, (qx,)), qy)

    params = {n: p.detach() for n, p in network.named_parameters()}
    arrays = (*episodes.support, *episodes.query)
    wrong = grad(lambda p: vmap(task, (None, 0, 0, 0, 0))(p, *arrays).mean())(params)
    assert relative_difference(list(wrong.values()), right) > 1e-3
    safe = vmap(grad(task), (None, 0, 0, 0, 0))(params, *arrays)
    assert relative_difference([g.mean(0) for g in safe.values()], right) < 1e-10


@pytest.mark.parametrize("lr", [1, 0.3, torch.tensor(0.3, dtype=torch.float64)])
def test_any_number_is_a_step_size(lr: float | Tensor) -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    params = parameters(network)
    adapted = sgd_steps(network, params, episodes.support, lr, 2)
    expected = sgd_steps(network, params, episodes.support, float(lr), 2)
    assert all(torch.equal(adapted[name], expected[name]) for name in params)


def test_it_steps_where_gradients_are_switched_off_too() -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    with torch.no_grad():
        adapted = sgd_steps(network, parameters(network), episodes.support, LR, 1)
    expected = sgd_steps(network, parameters(network), episodes.support, LR, 1)
    assert all(torch.equal(adapted[name], expected[name]) for name in adapted)


def test_what_cannot_be_adapted_is_said_in_words() -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    params = parameters(network)
    one_task = next(iter(episodes)).support
    with pytest.raises(UsageError, match=r"\[6\] and torch.int64: T tasks have integer labels"):
        sgd_steps(network, params, one_task, LR, 1)
    with pytest.raises(UsageError, match=r"unknown parameter of the network '1.weigth'"):
        sgd_steps(network, {"1.weigth": params["1.weight"]}, episodes.support, LR, 1)
    with pytest.raises(UsageError, match=r"lr has no step size for parameter '0.0.weight'"):
        sgd_steps(network, params, episodes.support, {}, 1)
    detached = {n: p.detach() for n, p in params.items()}
    with pytest.raises(UsageError, match=r"'0.0.weight' needs requires_grad=True"):
        sgd_steps(network, detached, episodes.support, LR, 1)
    with pytest.raises(UsageError, match=r"outputs \[3, 4, 2\] for values \[3, 4, 1\]"):
        task_losses(torch.zeros(3, 4, 2), torch.zeros(3, 4, 1))
    with pytest.raises(UsageError, match=r"outputs \[3, 4, 2\] for labels \[3, 5\]"):
        task_losses(torch.zeros(3, 4, 2), torch.zeros(3, 5, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.uint8, torch.int32, torch.uint16])
def test_labels_of_any_integer_type_give_the_same_losses(dtype: torch.dtype) -> None:
    labels, logits = torch.tensor([[0, 1, 1], [1, 0, 1]]), torch.arange(12.0).reshape(2, 3, 2)
    assert torch.equal(task_losses(logits, labels.to(dtype)), task_losses(logits, labels))


@pytest.mark.parametrize(
    ("y", "complaint"),
    [
        (torch.zeros(3, 6, 2), r"y of shape \[3, 6, 2\] and torch.float32 may be class probab"),
        (torch.zeros(3, 6, 2), r"or 2 values: pass labels \[T, N\], such as y.argmax\(-1\)"),
        (torch.zeros(3, 6), r"torch.float32: T tasks have integer labels \[T, N\], or values"),
        (torch.zeros(3, 6, 2, dtype=torch.int64), r"\[3, 6, 2\] and torch.int64: T tasks have"),
        (torch.zeros(3, 6, dtype=torch.complex64), r"torch.complex64: T tasks have"),
        (torch.full((3, 6), -100), r"y holds the label -100: [23] classes have labels 0"),
        (torch.full((3, 6), -1), r"y holds the label -1: [23] classes"),
        (torch.full((3, 6), 3), r"y holds the label 3: [23] classes"),
    ],
)
def test_targets_that_are_neither_labels_nor_values_are_refused(y: Tensor, complaint: str) -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    with pytest.raises(UsageError, match=complaint):
        sgd_steps(network, parameters(network), Support(episodes.support.x, y), LR, 1)
    with pytest.raises(UsageError, match=complaint):
        task_losses(torch.zeros(3, 6, 2), y)


@pytest.mark.parametrize("steps", [np.int64(2), np.uint8(2)])
def test_whole_numbers_of_numpy_are_numbers_of_steps(steps: int) -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    params = parameters(network)
    adapted = sgd_steps(network, params, episodes.support, np.float32(0.5), steps)
    expected = sgd_steps(network, params, episodes.support, 0.5, 2)
    assert all(torch.equal(adapted[name], expected[name]) for name in params)


@pytest.mark.parametrize("steps", [2.0, -1, np.int64(-1), "2", None])
def test_other_numbers_of_steps_are_refused(steps: int) -> None:
    network, episodes = plain.small_network("none"), plain.small_episodes("none")
    with pytest.raises(UsageError, match=r"steps=.*: the inner loop takes a whole number of at le"):
        sgd_steps(network, parameters(network), episodes.support, LR, steps)


class Attention(nn.Module):
    """A network of torch's fused attention, which lacks a second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.of = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.of(x.flatten(1, 2)).unflatten(-1, (3, 2, 4))
        query, key, value = rows.permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class TorchsAttention(nn.MultiheadAttention):
    def __init__(self) -> None:
        super().__init__(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        x = x.flatten(1, 2)
        return super().forward(x, x, x, need_weights=False)[0]


def encoder() -> nn.Sequential:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Flatten(1, 2), layer)


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("body", [Attention, TorchsAttention, encoder])
def test_attention_has_second_derivatives(
    body: Callable[[], nn.Module], training: bool, tasks: int
) -> None:
    network = nn.Sequential(body(), nn.Flatten(), nn.Linear(64, 3)).double().train(training)
    episodes = plain.small_episodes("none", tasks)
    ours = meta_loss(network, episodes, 2)
    with sdpa_kernel(SDPBackend.MATH):
        theirs = plain.any_network_meta_loss(network, parameters(network), episodes, LR, 2)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    assert relative_difference(gradients(ours, network), gradients(theirs, network)) < 1e-10
    assert vmap_of_networks.is_right(network, episodes.support.x)


@pytest.mark.parametrize("tasks", [1, 3])
def test_attention_has_second_derivatives_in_a_loop_of_ones_own(tasks: int) -> None:
    network = nn.Sequential(Attention(), nn.Flatten(), nn.Linear(64, 3)).double()
    (x, y), params = plain.small_episodes("none", tasks).support, parameters(network)
    state = {name: value.expand(tasks, *value.shape) for name, value in params.items()}
    value = task_losses(per_task(network, state, x), y).sum()
    grads = torch.autograd.grad(value, list(state.values()), create_graph=True)
    moved = {n: p - LR * g for (n, p), g in zip(state.items(), grads, strict=True)}
    ours = task_losses(per_task(network, moved, x), y).mean()
    adapted = sgd_steps(network, params, Support(x, y), LR, 1, second_order=True)
    theirs = task_losses(per_task(network, adapted, x), y).mean()
    assert relative_difference(gradients(ours, network), gradients(theirs, network)) < 1e-10


def test_the_callers_choice_of_attention_is_left_as_it_was() -> None:
    network = nn.Sequential(TorchsAttention(), nn.Flatten(), nn.Linear(64, 3)).double()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        meta_loss(network, plain.small_episodes("none"), 1)
        assert torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.cuda.math_sdp_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


MOVING = {
    "batch": lambda: nn.BatchNorm2d(4),
    "synchronised batch": lambda: nn.SyncBatchNorm(4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "spectral": lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
    "spectral, by hooks": lambda: nn.utils.spectral_norm(nn.Conv2d(4, 4, 1)),
}


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("norm", MOVING)
def test_a_norm_that_moves_may_be_called_before_and_after(norm: str, tasks: int) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), MOVING[norm](), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    network = nn.Sequential(*layers).double().train()
    twin, episodes = copy.deepcopy(network), plain.small_episodes("none", tasks)
    images = torch.rand(7, 1, 8, 8, dtype=torch.float64)
    found = []
    for one, value in ((network, meta_loss), (twin, plain_meta_loss)):
        before = one(images).square().mean()
        losses = before + value(one, episodes, 2)
        found.append(gradients(losses + one(images).square().mean(), one))
    assert relative_difference(*found) < 1e-10
    for name, value in twin.named_buffers():
        assert torch.allclose(network.get_buffer(name), value, rtol=1e-10, atol=1e-12), name


def plain_meta_loss(network: nn.Module, episodes: Episodes, steps: int) -> Tensor:
    return plain.any_network_meta_loss(network, parameters(network), episodes, LR, steps)
