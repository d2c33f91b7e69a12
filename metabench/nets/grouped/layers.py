"""A network as a chain of layers in which tasks can be grouped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules import module as everywhere

from metabench.nets.norms import EpisodeNorm, RunningNorm, SupportNorm

NORMS = (EpisodeNorm, SupportNorm, RunningNorm, nn.BatchNorm2d)


@dataclass(frozen=True)
class Convolution:
    """A convolution and the layers that follow it.

    Attributes:
        name: the convolution's name in the network.
        conv: the convolution.
        norm_name: the name of its normalisation, if any.
        norm: the normalisation.
        eps: its `eps`.
        relu: True if ReLU follows.
        halve: True if 2x2 max-pooling follows.
    """

    name: str
    conv: nn.Conv2d
    norm_name: str = ""
    norm: nn.Module | None = None
    eps: float = 0.0
    relu: bool = False
    halve: bool = False

    @property
    def moved(self) -> nn.BatchNorm2d | None:
        """The normalisation, if a batch moves the statistics that it keeps."""
        norm = self.norm
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.training:
            return norm
        return None

    @property
    def padding(self) -> tuple[int, ...]:
        """Vertical and horizontal padding."""
        assert not isinstance(self.conv.padding, str)  # ensured by `read`
        return self.conv.padding


@dataclass(frozen=True)
class Dense:
    """A linear layer, and whether ReLU follows."""

    name: str
    linear: nn.Linear
    relu: bool = False


Layer = Convolution | Dense


def read(network: nn.Module) -> tuple[Layer, ...] | None:
    """Return the layers of a network: convolutions, then dense layers on flattened examples.

    None if the network contains anything that is not known here to the last detail, such as a
    subclass or a hook.
    """
    layers: list[Layer] = []
    flat = False
    if type(network) is not nn.Sequential or _shares(network):
        return None
    for name, module in _chain("", network):
        last = layers[-1] if layers else None
        if _is_altered(module):
            return None
        if type(module) is nn.Conv2d and _plain(module) and not flat:
            layers.append(Convolution(name, module))
        elif type(module) is nn.Linear and flat:
            layers.append(Dense(name, module))
        elif type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1:
            flat = True
        elif isinstance(last, Convolution) and not flat and _normalises(module, last):
            eps = float(module.eps)  # type: ignore[arg-type]
            layers[-1] = replace(last, norm_name=name, norm=module, eps=eps)
        elif type(module) is nn.ReLU and last is not None and (flat == isinstance(last, Dense)):
            layers[-1] = replace(last, relu=True)
        elif _halves(module) and isinstance(last, Convolution) and not (flat or last.halve):
            layers[-1] = replace(last, halve=True)
        else:
            return None
    return tuple(layers) if layers and flat else None


def _chain(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that a module applies in sequence, with names as in `named_modules`."""
    if type(module) is not nn.Sequential or _is_altered(module):
        yield name, module
        return
    for child_name, child in module._modules.items():  # `named_children` omits repeated ones
        assert child is not None
        yield from _chain(f"{name}.{child_name}" if name else child_name, child)


def _shares(network: nn.Module) -> bool:
    """Return whether a parameter has two names, of which a state has only the first."""
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    return len(names) > len(dict(network.named_parameters()))


def _is_altered(module: nn.Module) -> bool:
    """Return whether a module may do something other than its type says."""
    return "forward" in vars(module) or any(
        hooks
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
            everywhere._global_forward_hooks,
            everywhere._global_forward_pre_hooks,
            everywhere._global_backward_hooks,
            everywhere._global_backward_pre_hooks,
        )
    )


def _plain(conv: nn.Conv2d) -> bool:
    return (
        conv.groups == 1
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def _normalises(module: nn.Module, last: Convolution) -> bool:
    """Return whether a module normalises the direct outputs of a convolution.

    It must have a weight for each channel. Batches may move the statistics that it keeps only by
    a fixed share.
    """
    if type(module) not in NORMS or last.norm is not None or last.relu or last.halve:
        return False
    if isinstance(module, nn.BatchNorm2d):
        keeps = module.running_mean is not None
        if module.momentum is None or module.track_running_stats != keeps:
            return False
    if module.weight is None or module.bias is None:
        return False
    return len(module.weight) == last.conv.out_channels  # type: ignore[arg-type]


def _halves(module: nn.Module) -> bool:
    return type(module) is nn.MaxPool2d and (
        module.kernel_size in (2, (2, 2))
        and module.stride in (2, (2, 2))
        and module.padding in (0, (0, 0))
        and module.dilation in (1, (1, 1))
        and not (module.ceil_mode or module.return_indices)
    )
