"""Networks and inner loops written out: what the fast ones have to equal.

One task at a time, one layer after another, gradients by `torch.autograd.grad` over a graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from metabench import Episodes, Support
from metabench.learner import Episode
from metabench.nets.conv4 import conv4
from metabench.nets.mlp import mlp
from metabench.nets.norms import EpisodeNorm, RunningNorm, SupportNorm

Params = Mapping[str, Tensor]
Statistics = list[tuple[Tensor, Tensor]]


def small_network(kind: str, way: int = 3, seed: int = 0) -> nn.Sequential:
    """A body and a linear head in float64: "mlp", or conv4 by the name of its `bn`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "mlp":
            body, width, way = mlp((1,), hidden=7), 7, 1
        else:
            body, width = conv4((1, 8, 8), channels=4, bn=kind), 4
            for part in body.modules():  # as after some training
                if isinstance(part, RunningNorm | EpisodeNorm):
                    nn.init.uniform_(part.weight, 0.5, 1.5)
                    nn.init.uniform_(part.bias, -0.3, 0.3)
                if isinstance(part, RunningNorm):
                    part.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
                    part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        return nn.Sequential(body, nn.Linear(width, way)).double().eval()


def small_episodes(kind: str, tasks: int = 3, way: int = 3, seed: int = 1) -> Episodes:
    """Random training episodes in float64; functions for "mlp", images for the others."""
    g = torch.Generator().manual_seed(seed)
    shots, queries = 2 * way, 4 * way

    def part(count: int) -> Support:
        if kind == "mlp":
            x = torch.rand(tasks, count, 1, generator=g, dtype=torch.float64)
            return Support(x, torch.rand(tasks, count, 1, generator=g, dtype=torch.float64))
        x = torch.rand(tasks, count, 1, 8, 8, generator=g, dtype=torch.float64)
        order = torch.stack([torch.randperm(count, generator=g) for _ in range(tasks)])
        return Support(x, order % way)

    return Episodes(part(shots), part(queries), way=1 if kind == "mlp" else way)


def forward(
    network: nn.Sequential, params: Params, x: Tensor, given: Statistics | None = None
) -> tuple[Tensor, Statistics]:
    """Outputs for one task, and the statistics of each layer that normalises by its batch.

    Args:
        network: which layers there are.
        params: their parameters, by name.
        x: [N, *shape].
        given: statistics for the layers that reuse the support set's.
    """
    used: Statistics = []
    for name, layer in network.named_modules():
        own = {n: params[f"{name}.{n}"] for n, _ in layer.named_parameters(recurse=False)}
        match layer:
            case nn.Conv2d():
                x = F.conv2d(x, own["weight"], own.get("bias"), layer.stride, layer.padding)
            case nn.Linear():
                x = x @ own["weight"].T + own["bias"]
            case RunningNorm():
                x = _normalised(x, layer.running_mean, layer.running_var, own)
            case EpisodeNorm():
                mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
                if given is not None and isinstance(layer, SupportNorm):
                    mean, var = given[len(used)]
                used.append((mean, var))
                x = _normalised(x, mean, var, own)
            case nn.ReLU() | nn.MaxPool2d() | nn.Flatten():
                x = layer(x)
            case nn.Sequential():
                pass
            case _:
                raise AssertionError(layer)
    return x, used


def _normalised(x: Tensor, mean: Tensor, var: Tensor, own: Params) -> Tensor:
    def channels(t: Tensor) -> Tensor:
        return t[None, :, None, None]

    whitened = (x - channels(mean)) / (channels(var) + 1e-5).sqrt()
    return whitened * channels(own["weight"]) + channels(own["bias"])


def loss(outputs: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(outputs, y) if y.is_floating_point() else F.cross_entropy(outputs, y)


def steps(
    network: nn.Sequential,
    params: Params,
    support: Support,
    lr: float | Params,
    count: int,
    second_order: bool,
) -> dict[str, Tensor]:
    """The inner loop on one task."""
    adapted = dict(params)
    for _ in range(count):
        value = loss(forward(network, adapted, support.x)[0], support.y)
        grads = torch.autograd.grad(value, list(adapted.values()), create_graph=second_order)
        adapted = {
            n: p - (lr if isinstance(lr, float) else lr[n]) * g
            for (n, p), g in zip(adapted.items(), grads, strict=True)
        }
    return adapted


def query_loss(
    network: nn.Sequential,
    params: Params,
    episode: Episode,
    lr: float | Params,
    count: int,
    second_order: bool,
) -> Tensor:
    """The loss on one task's queries after the inner loop."""
    support, query = episode
    adapted = steps(network, params, support, lr, count, second_order)
    _, statistics = forward(network, adapted, support.x)
    return loss(forward(network, adapted, query.x, statistics)[0], query.y)


def meta_loss(
    network: nn.Sequential,
    params: Params,
    episodes: Episodes,
    lr: float | Params,
    count: int,
    second_order: bool = True,
) -> Tensor:
    """Mean query loss over tasks."""
    losses = [query_loss(network, params, e, lr, count, second_order) for e in episodes]
    return torch.stack(losses).mean()


def any_network_meta_loss(
    network: nn.Module, params: Params, episodes: Episodes, lr: float, count: int
) -> Tensor:
    """`meta_loss` for any network: torch calls it, and its buffers move, task after task."""
    adapted = [dict(params) for _ in episodes]
    for _ in range(count):
        for t, episode in enumerate(episodes):
            outputs = functional_call(network, adapted[t], (episode.support.x,))
            grads = torch.autograd.grad(
                loss(outputs, episode.support.y), list(adapted[t].values()), create_graph=True
            )
            adapted[t] = {
                n: p - lr * g for (n, p), g in zip(adapted[t].items(), grads, strict=True)
            }
    losses = [
        loss(functional_call(network, adapted[t], (episode.query.x,)), episode.query.y)
        for t, episode in enumerate(episodes)
    ]
    return torch.stack(losses).mean()
