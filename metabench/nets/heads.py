"""Linear heads on features."""

from __future__ import annotations

from torch import Generator, nn
from torch.nn.utils import skip_init


def linear_head(features: int, way: int, generator: Generator) -> nn.Linear:
    """A linear layer, initialised as torch does it but from a generator of one's own.

    The global generator stays as it was, so that adapting a new head is repeatable.

    Args:
        features: width of the input.
        way: number of logits.
        generator: a CPU generator, e.g. `task.generator()`.
    """
    head: nn.Linear = skip_init(nn.Linear, features, way)  # type: ignore[no-untyped-call]
    bound = features**-0.5
    nn.init.uniform_(head.weight, -bound, bound, generator)
    nn.init.uniform_(head.bias, -bound, bound, generator)
    return head
