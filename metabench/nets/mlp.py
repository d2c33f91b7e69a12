"""The multilayer perceptron with which meta-learning papers regress sinusoids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from metabench.errors import UsageError
from metabench.nets.heads import small_init


def mlp(
    input_shape: Sequence[int], *, hidden: int = 40, layers: int = 2, init_std: float = 0.0
) -> nn.Sequential:
    """Build hidden layers, each followed by ReLU, on flattened inputs.

    Args:
        input_shape: shape of one example, of any number of dimensions.
        hidden: width of each layer.
        layers: number of layers.
        init_std: draw weights from a normal distribution of this standard deviation, truncated
            at twice that, and start biases from zero, as the papers on sinusoids do with 0.01;
            0: initialise as torch does.

    Returns:
        A module mapping [N, *input_shape] to [N, hidden].

    Raises:
        UsageError: no width, no layers, or a negative deviation.

    References:
        Finn, Abbeel and Levine 2017, section 5.1 (arXiv:1703.03400): two layers of 40; the
        initialisation as in the code published with it.
    """
    for name, value in (("hidden", hidden), ("layers", layers)):
        if value < 1:
            raise UsageError(f"mlp[{name}={value}]: '{name}' takes a number of at least 1")
    if init_std < 0:
        raise UsageError(f"mlp[init_std={init_std:g}]: 'init_std' is at least 0")
    widths = [math.prod(input_shape), *[hidden] * layers]
    parts = [
        part
        for inputs, outputs in pairwise(widths)
        for part in (nn.Linear(inputs, outputs), nn.ReLU())
    ]
    for part in parts:
        if isinstance(part, nn.Linear) and init_std:
            small_init(part, init_std)
    return nn.Sequential(nn.Flatten(), *parts)
