from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_materials import SHAPE, open_digits

from metabench.worker.feature_cache import FeatureCache, fingerprints


def digits(count: int = 60) -> Tensor:
    images = torch.from_numpy(np.array(open_digits().dataset.images[:count]))
    return images.double().div_(255)


class Network:
    """A convolution that counts what goes through it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten()).double()
        self.calls: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        features: Tensor = self.layers(x)
        return features

    def alone(self, x: Tensor) -> Tensor:
        return self.layers(x).detach()


def test_features_are_those_of_the_network() -> None:
    network, images = Network(), digits()
    cache = FeatureCache(network, SHAPE)
    for seed in range(5):
        asked = images[torch.randint(60, (40,), generator=torch.Generator().manual_seed(seed))]
        torch.testing.assert_close(cache(asked), network.alone(asked), rtol=0, atol=1e-10)


def test_each_image_goes_through_the_network_once() -> None:
    network, images = Network(), digits()
    cache = FeatureCache(network, SHAPE)
    cache(images[[0, 1, 1, 2, 0]])
    cache(images[[2, 3, 3, 1]])
    cache(images[:4])
    assert network.calls == [3, 1]
    assert len(cache) == 4


def test_leading_dimensions_are_kept() -> None:
    cache = FeatureCache(Network(), SHAPE)
    assert cache(digits(12).reshape(3, 4, *SHAPE)).shape == (3, 4, 3 * 6 * 6)


def test_what_is_done_to_features_does_not_change_those_kept() -> None:
    network, images = Network(), digits(5)
    cache = FeatureCache(network, SHAPE)
    cache(images).zero_()
    torch.testing.assert_close(cache(images), network.alone(images))


def test_examples_with_one_fingerprint_keep_their_own_features() -> None:
    odd = 0x9E3779B97F4A7C15
    bits = torch.tensor([[odd - 2**64, 0], [0, 1]])  # odd * odd + 0, and 0 + odd^2 * 1
    assert len(set(fingerprints(bits).tolist())) == 1
    x = bits.view(torch.float64)
    cache = FeatureCache(lambda x: x.flatten(1), (2,))
    for asked in (x[:1], x, x.flip(0), x[1:]):
        assert torch.equal(cache(asked).view(torch.int64), asked.view(torch.int64))
    assert len(cache) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_fingerprints_distinguish_rows_of_any_width(dtype: torch.dtype, width: int) -> None:
    rows = torch.rand(50, width, dtype=dtype, generator=torch.Generator().manual_seed(0))
    cache = FeatureCache(lambda x: 2 * x, (width,))
    assert torch.equal(cache(rows), 2 * rows)
    assert torch.equal(cache(rows.flip(0)), 2 * rows.flip(0))
    assert len(cache) == 50


def test_zeros_of_either_sign_are_different_examples() -> None:
    cache = FeatureCache(torch.reciprocal, (1,))
    for zero in (0.0, -0.0):
        x = torch.tensor([[zero]])
        assert torch.equal(cache(x), 1 / x)


def test_memory_is_bounded_and_features_beyond_it_are_right() -> None:
    network, images = Network(), digits()
    each = 8 * 64 + 8 * 3 * 6 * 6 + 200
    cache = FeatureCache(network, SHAPE, limit=20 * each)
    order = torch.Generator().manual_seed(0)
    for _ in range(50):
        asked = images[torch.randint(60, (16,), generator=order)]
        torch.testing.assert_close(cache(asked), network.alone(asked), rtol=0, atol=1e-10)
        assert len(cache) <= 20
    assert len(cache) == 20


def test_a_network_that_changes_is_noticed() -> None:
    network, images = Network(), digits()
    cache = FeatureCache(network, SHAPE)
    assert not cache.moved()  # nothing is kept
    cache(images)
    assert not cache.moved()
    with torch.no_grad():
        next(network.layers.parameters()).mul_(1.001)
    assert cache.moved()


def test_features_that_depend_on_other_images_are_noticed() -> None:
    cache = FeatureCache(lambda x: (x - x.mean(0)).flatten(1), SHAPE)
    cache(digits())
    assert cache.moved()


def test_features_that_are_not_one_row_for_each_example_are_refused() -> None:
    cache = FeatureCache(lambda x: x.flatten(1).mean(0, keepdim=True), SHAPE)
    with pytest.raises(ValueError, match="1 rows of features for 60 examples"):
        cache(digits())


def test_features_in_inference_mode_can_be_kept() -> None:
    network, images = Network(), digits()
    cache = FeatureCache(network, SHAPE)
    with torch.inference_mode():
        cache(images[:10])
    cache(images[:30])
    with torch.inference_mode():
        again = cache(images)
    torch.testing.assert_close(again, network.alone(images))
    assert network.calls == [10, 20, 30]


def test_a_network_that_takes_its_own_parts_in_turn_gets_the_same() -> None:
    network, images = Network(), digits()

    def in_parts(x: Tensor) -> Tensor:
        return network(x) if len(x) <= 7 else torch.cat([cache(part) for part in x.split(7)])

    cache = FeatureCache(in_parts, SHAPE)
    for asked in (images[:20], images, images[10:40]):
        torch.testing.assert_close(cache(asked), network.alone(asked))
