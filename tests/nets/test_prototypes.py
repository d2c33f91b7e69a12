from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metabench import Support, UsageError, class_means, squared_distances


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def direct(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances, difference by difference."""
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1)


def test_means_of_one_task() -> None:
    support = Support(draw(6, 1, 2, 2), torch.tensor([2, 0, 1, 0, 2, 2]))
    expected = [support.x[support.y == c].flatten(1).mean(0) for c in range(3)]
    assert torch.allclose(class_means(support), torch.stack(expected))


def test_means_of_many_tasks_are_those_of_each() -> None:
    x, y = draw(4, 6, 3), torch.stack([torch.randperm(6) % 3 for _ in range(4)])
    each = [class_means(Support(*task)) for task in zip(x, y, strict=True)]
    assert torch.allclose(class_means(Support(x, y)), torch.stack(each))


def test_a_class_without_examples_has_no_mean() -> None:
    means = class_means(Support(draw(2, 3), torch.tensor([0, 2])), way=4)
    assert means.isnan().all(1).tolist() == [False, True, False, True]


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_distances_equal_the_direct_form(leading: tuple[int, ...]) -> None:
    a, b = draw(*leading, 7, 5), draw(*leading, 4, 5, seed=1)
    assert squared_distances(a, b).shape == (*leading, 7, 4)
    assert torch.allclose(squared_distances(a, b), direct(a, b), rtol=1e-12)


def test_features_far_from_the_origin_keep_their_digits() -> None:
    a, b = draw(20, 64) + 1000, draw(5, 64, seed=1) + 1000
    single = squared_distances(a.float(), b.float()).double()
    exact = direct(a.float().double(), b.float().double())
    assert ((single - exact) / exact).abs().max() < 1e-5
    naive = a.float().square().sum(1, keepdim=True) - 2 * a.float() @ b.float().T
    naive = naive + b.float().square().sum(1)
    assert ((naive - exact) / exact).abs().max() > 1e-3  # what the centring is for


def test_a_distance_is_never_negative() -> None:
    b = draw(30, 64).float() * 100
    distances = squared_distances(b, b)
    assert (distances >= 0).all()
    assert distances.diagonal().max() < 1e-5 * distances.max()


def test_distances_can_be_differentiated_twice() -> None:
    a, b = draw(3, 4).requires_grad_(), draw(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(squared_distances, (a, b))
    assert torch.autograd.gradgradcheck(squared_distances, (a, b))


def test_means_can_be_differentiated_twice() -> None:
    y = torch.tensor([1, 0, 0])
    assert torch.autograd.gradgradcheck(
        lambda x: class_means(Support(x, y), 2).square(), (draw(3, 4).requires_grad_(),)
    )


def test_numbers_of_numpy_are_numbers_of_classes() -> None:
    support = Support(draw(4, 3), torch.tensor([0, 2, 1, 1]))
    assert torch.equal(class_means(support, np.int64(3)), class_means(support))


@pytest.mark.parametrize(
    "y", [torch.eye(3), torch.zeros(3), torch.zeros(3, 3, dtype=torch.int64), torch.zeros(4).long()]
)
def test_what_is_not_one_label_for_each_example_is_refused(y: Tensor) -> None:
    with pytest.raises(UsageError, match="class means take one integer label"):
        class_means(Support(draw(3, 1, 2, 2), y))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.uint16])
def test_labels_of_any_integer_type_give_the_same_means(dtype: torch.dtype) -> None:
    x, y = draw(3, 2), torch.tensor([0, 1, 1])
    assert torch.equal(class_means(Support(x, y.to(dtype))), class_means(Support(x, y)))


@pytest.mark.parametrize(("label", "way"), [(-100, 2), (-1, None), (2, 2)])
def test_a_label_that_is_no_class_is_refused(label: int, way: int | None) -> None:
    with pytest.raises(UsageError, match=f"y holds the label {label}: 2 classes have labels 0..1"):
        class_means(Support(draw(3, 2), torch.tensor([0, 1, label])), way)
