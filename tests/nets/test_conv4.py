from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench import UsageError
from metabench.nets.conv4 import conv4


def build(*args: object, **params: object) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return conv4(*args, **params)  # type: ignore[arg-type]


def images(n: int, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


def by_hand(module: nn.Sequential, x: Tensor, train: bool) -> Tensor:
    """Conv-4 with running statistics and pooling, written out from the weights."""
    weights = dict(module.state_dict())
    convs = [w for w in weights.values() if w.ndim == 4]
    norms = [k.removesuffix(".running_mean") for k in weights if k.endswith(".running_mean")]
    for conv, norm in zip(convs, norms, strict=True):
        x = F.conv2d(x, conv, padding=1)
        mean, var = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        if train:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        x = x * weights[f"{norm}.weight"][:, None, None] + weights[f"{norm}.bias"][:, None, None]
        x = F.relu(x)
        x = F.max_pool2d(x, 2) if min(x.shape[2:]) >= 2 else x
    return x.flatten(1)


@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("train", [True, False])
def test_it_equals_the_network_written_out(size: int, train: bool) -> None:
    module = build((1, size, size)).double()
    x = images(6, 1, size, size).double()
    module.train()(x)  # move the running statistics off their start
    expected = by_hand(module, x, train)
    assert torch.allclose(module.train(train)(x), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "params", "width"),
    [
        ((1, 28, 28), {}, 64),
        ((1, 28, 28), {"pool": False}, 256),
        ((1, 28, 28), {"channels": 32}, 32),
        ((3, 84, 84), {}, 1600),
        ((1, 8, 8), {}, 64),
        ((1, 8, 8), {"pool": False}, 64),
        ((1, 9, 30), {}, 192),  # 9x30, 4x15, 2x7, 1x3
        ((1, 1, 1), {}, 64),
    ],
)
def test_width_of_features(shape: tuple[int, ...], params: dict[str, object], width: int) -> None:
    assert build(shape, **params).eval()(images(2, *shape)).shape == (2, width)


def test_an_8x8_image_is_halved_three_times() -> None:
    assert sum(isinstance(m, nn.MaxPool2d) for m in build((1, 8, 8))) == 3
    strides = [m.stride for m in build((1, 8, 8), pool=False) if isinstance(m, nn.Conv2d)]
    assert strides == [(2, 2), (2, 2), (2, 2), (1, 1)]


def test_parameters_are_those_of_the_papers() -> None:
    module = build((1, 28, 28))
    convolutions = 64 * 9 + 3 * 64 * 64 * 9  # no bias before batch normalisation
    assert sum(p.numel() for p in module.parameters()) == convolutions + 4 * 2 * 64
    assert {m.eps for m in module if isinstance(m, nn.BatchNorm2d)} == {1e-5}


def test_without_normalisation_convolutions_have_a_bias() -> None:
    module = build((1, 28, 28), bn="none")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in module)
    assert all(m.bias is not None for m in module if isinstance(m, nn.Conv2d))
    x = images(3, 1, 28, 28)
    assert torch.equal(module.train()(x), module.eval()(x))


def test_a_single_value_passes_normalisation_and_leaves_its_statistics() -> None:
    module = build((1, 8, 8)).train()
    last = [m for m in module if isinstance(m, nn.BatchNorm2d)][-1]
    before = last.running_mean.clone()  # type: ignore[union-attr]
    assert module(images(1, 1, 8, 8)).isfinite().all()  # the last map is 1x1
    assert torch.equal(last.running_mean, before)  # type: ignore[arg-type]
    lone = images(1, 64, 1, 1)
    assert torch.equal(last(lone), lone)
    module(images(2, 1, 8, 8))
    assert not torch.equal(last.running_mean, before)  # type: ignore[arg-type]


def test_running_statistics_make_eval_mode_blind_to_the_batch() -> None:
    module = build((1, 28, 28)).eval()
    x = images(5, 1, 28, 28)
    alone = torch.cat([module(image[None]) for image in x])
    assert torch.allclose(module(x), alone, atol=1e-5)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match=r"batch normalisation .*'episod'.*did you mean 'episode'"):
        conv4((1, 28, 28), bn="episod")
    with pytest.raises(UsageError, match=r"takes images .* shape \(1,\)"):
        conv4((1,))
    with pytest.raises(UsageError, match=r"conv4\[channels=0\].*at least 1"):
        conv4((1, 28, 28), channels=0)
