"""Class means and squared distances: few-shot classification by the nearest prototype.

Both work on one task or on T tasks at once, depending on the leading dimensions.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from metabench.errors import UsageError
from metabench.learner import Support
from metabench.nets.labels import are_labels, check_labels


def class_means(support: Support, way: int | None = None) -> Tensor:
    """Return the mean of each class, the prototype c_k, of flattened examples.

    Args:
        support: x [S, ...] and y [S] of one task, or x [T, S, ...] and y [T, S] of T tasks;
            x may be images or features.
        way: number of classes; None: one more than the highest label.

    Returns:
        [way, D], or [T, way, D]. A class without examples has no mean and is NaN.

    Raises:
        UsageError: y is not one integer label in 0..way-1 for each example.

    References:
        Snell et al. 2017, equation 1 (arXiv:1703.05175).
    """
    given = support.y
    if not are_labels(given) or given.shape != support.x.shape[: given.ndim]:
        raise UsageError(
            f"y of shape {list(given.shape)} and {given.dtype} for x {list(support.x.shape)}: "
            "class means take one integer label for each example; one-hot labels become these by "
            "y.argmax(-1)"
        )
    x, y = support.x.flatten(given.ndim), given.long()
    way = int(y.max()) + 1 if way is None else way
    try:
        member = F.one_hot(y, way).to(x.dtype)  # [..., S, way]
    except RuntimeError:  # of a label, or for lack of memory
        check_labels(y, way)
        raise
    return (member.mT @ x) / member.sum(-2).unsqueeze(-1)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared Euclidean distance of every row of `a` to every row of `b`.

    It is computed as |a|^2 - 2ab + |b|^2, which needs no [Q, way, D] array. That form loses
    digits if rows are long compared with their distances. Both sides are therefore first shifted
    by the mean of `b`, which changes no distance. Distances that rounding leaves below zero
    become zero.

    Args:
        a: [..., Q, D].
        b: [..., way, D], with the leading dimensions of `a`.

    Returns:
        [..., Q, way], not negative.
    """
    centre = b.mean(-2, keepdim=True)
    a, b = a - centre, b - centre
    squares = a.square().sum(-1).unsqueeze(-1) + b.square().sum(-1).unsqueeze(-2)
    return (squares - 2 * (a @ b.mT)).clamp_min(0)
