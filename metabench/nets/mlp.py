"""The multilayer perceptron that meta-learning papers regress sinusoids with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from metabench.errors import UsageError


def mlp(input_shape: Sequence[int], *, hidden: int = 40, layers: int = 2) -> nn.Sequential:
    """Hidden layers with ReLU behind each, on flattened inputs; torch's own initialisation.

    Args:
        input_shape: shape of one example, of any number of dimensions.
        hidden: width of each layer.
        layers: how many.

    Returns:
        A module mapping [N, *input_shape] to [N, hidden].

    Raises:
        UsageError: no width or no layers.

    Source:
        Finn, Abbeel and Levine 2017, section 5.1 (arXiv:1703.03400): two layers of 40.
    """
    for name, value in (("hidden", hidden), ("layers", layers)):
        if value < 1:
            raise UsageError(f"mlp[{name}={value}]: '{name}' takes a number of at least 1")
    widths = [math.prod(input_shape), *[hidden] * layers]
    parts = [
        part
        for inputs, outputs in pairwise(widths)
        for part in (nn.Linear(inputs, outputs), nn.ReLU())
    ]
    return nn.Sequential(nn.Flatten(), *parts)
