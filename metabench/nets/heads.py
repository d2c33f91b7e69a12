"""Linear heads on features, and the initialisation of linear layers."""

from __future__ import annotations

from torch import Generator, nn
from torch.nn.utils import skip_init

from metabench.errors import UsageError
from metabench.learner import Episodes, TaskSpec
from metabench.nets.shapes import out_features


def head_on(body: nn.Module, task: TaskSpec, outputs: int, std: float = 0.0) -> nn.Linear:
    """Build a linear head on a backbone's features; with `std`, `small_init` initialises it."""
    head = linear_head(out_features(body, task.input_shape), outputs, task.generator())
    if std:
        small_init(head, std, task.generator())
    return head.to(task.device)


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


def check_way(episodes: Episodes, outputs: int) -> None:
    """Refuse training episodes of more classes than a head has outputs."""
    if episodes.way > outputs:
        raise UsageError(
            f"training episodes are {episodes.way}-way, the head has {outputs} outputs: "
            f"ask for train_way={outputs} or fewer"
        )
