"""Linear heads on features, and the initialisation of linear layers."""

from __future__ import annotations

from torch import Generator, nn
from torch.nn.utils import skip_init


def linear_head(features: int, way: int, generator: Generator) -> nn.Linear:
    """Build a linear layer, initialised as torch does but from a generator of its own.

    The global generator is left unchanged, so that adapting a new head is repeatable.

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


def small_init(layer: nn.Linear, std: float, generator: Generator | None = None) -> None:
    """Initialise a layer with small weights and zero bias, as TensorFlow code often does.

    Args:
        layer: changed in place.
        std: standard deviation of the normal distribution, which is truncated at twice that.
        generator: a CPU generator; None: torch's global one.
    """
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
    nn.init.zeros_(layer.bias)
