"""A chain of layers applied to T tasks at once, each task with its own weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from metabench.nets.grouped.convolution import Geometry, convolve
from metabench.nets.grouped.first_block import first_block
from metabench.nets.grouped.layers import Convolution, Dense, Layer, read
from metabench.nets.grouped.normalisation import move, normalise, rescale, signs, statistics
from metabench.nets.grouped.patches import Patches, columns, convolve_columns
from metabench.nets.grouped.pooling import max_pool
from metabench.nets.network_state import NetworkState
from metabench.nets.norms import SupportNorm


def grouped(network: nn.Module, state: NetworkState, x: Tensor) -> Grouped | None:
    """Prepare a network for T tasks' examples; None if that is impossible or not worthwhile.

    Args:
        network: maps [N, *shape] to [N, D].
        state: the tasks' own tensors, by name; without weights among them the tasks share one
            network, and there is nothing to group.
        x: [T, N, *shape].
    """
    layers = read(network)
    if layers is None or not any(f"{layer.name}.weight" in state for layer in layers):
        return None
    if x.device.type not in ("cpu", "cuda") or not _of_one_type(network, state, x):
        return None  # other devices lack operators, or float64
    if isinstance(layers[0], Convolution) and x.ndim != 5:
        return None
    if not all(isinstance(of, Dense) or _may_move(of, state, x) for of in layers):
        return None
    return Grouped.of(layers, x)


def _of_one_type(network: nn.Module, state: NetworkState, x: Tensor) -> bool:
    """Return whether all tensors have the type of `x`, so that none is converted."""
    values = (*network.parameters(), *network.buffers(), *state.values())
    return not torch.is_autocast_enabled(x.device.type) and all(
        value.dtype == x.dtype for value in values if value.is_floating_point()
    )


def _may_move(layer: Convolution, state: NetworkState, x: Tensor) -> bool:
    """Return whether a batch moves no statistics, or all of `x` moves the network's own at once.

    Several tasks would move them one after another, or move their own. One example may have no
    variance.
    """
    if layer.moved is None:
        return True
    own = any(f"{layer.norm_name}.{name}" in state for name, _ in layer.moved.named_buffers())
    return len(x) == 1 and x.shape[1] > 1 and not own


@dataclass(frozen=True, eq=False)
class Grouped:
    """Layers and the examples that they are applied to, for any number of states.

    Attributes:
        layers: the layers of the network.
        examples: [T, N, *shape].
        x: the same as [N, T * C, H, W] with channels innermost, or [T, N, D] for dense layers.
    """

    layers: tuple[Layer, ...]
    examples: Tensor
    x: Tensor

    @classmethod
    def of(cls, layers: tuple[Layer, ...], x: Tensor) -> Grouped:
        """Lay out T tasks' examples [T, N, *shape]."""
        first = layers[0]
        if isinstance(first, Dense):
            return cls(layers, x, x.flatten(2))
        images = x.transpose(0, 1).reshape(x.shape[1], -1, *x.shape[3:])
        # A copy, because images of one channel already count as channels innermost but lead to
        # outputs that do not, for which pooling takes twenty times as long.
        images = images.clone(memory_format=torch.channels_last)
        return cls(layers, x, images)

    @property
    def tasks(self) -> int:
        """The number of tasks, T."""
        return len(self.examples)

    @cached_property
    def patches(self) -> Patches | None:
        """The patches that the first convolution sees, for the statistics of its outputs."""
        first = self.layers[0]
        return Patches.of(self.examples, first) if isinstance(first, Convolution) else None

    @cached_property
    def columns(self) -> Tensor | None:
        """The same patches themselves, on a device that convolves by them."""
        first = self.layers[0]
        if self.x.device.type == "cpu" or not isinstance(first, Convolution):
            return None
        return columns(self.examples, first)

    def outputs(self, state: NetworkState, found: dict[str, Tensor] | None = None) -> Tensor:
        """Return the network's outputs for every task, [T, N, D].

        Args:
            state: the tasks' own parameters and buffers.
            found: receives the statistics [T, C] that layers normalised by, under the names of
                their buffers.
        """
        h = self.x
        for layer in self.layers:
            if isinstance(layer, Convolution):
                h = self._convolution(layer, state, h, found)
            else:
                h = self._dense(layer, state, h)
        return self._by_task(h)

    def _convolution(
        self, layer: Convolution, state: NetworkState, h: Tensor, found: dict[str, Tensor] | None
    ) -> Tensor:
        weight = self._own(layer.name, layer.conv, "weight", state)  # [T, O, C, h, w]
        bias = None
        if layer.conv.bias is not None:
            bias = self._own(layer.name, layer.conv, "bias", state)
        if layer.norm is None:
            return self._affine(layer, h, weight, None if bias is None else _flat(bias))
        gain = self._own(layer.norm_name, layer.norm, "weight", state)
        offset = self._own(layer.norm_name, layer.norm, "bias", state)
        used = self._known(layer, state, weight, bias)
        y = sign = None
        if used is None:  # they must be taken from the outputs
            sign = signs(gain) if layer.halve else None
            if sign is not None:  # flip signs so that no gain is below zero
                weight, gain = weight * sign[..., None, None, None], gain * sign
                bias = None if bias is None else bias * sign
            y = convolve(h, _flat(weight), self._geometry(layer))
            if layer.moved:
                mean, var = self._of_outputs(y.detach(), bias)
                move(layer.moved, mean if sign is None else mean * sign, var, y[:, 0].numel())
            if y[:, 0].numel() == 1:  # a single value has no variance: as in `norms.EpisodeNorm`
                used = torch.zeros_like(gain), torch.full_like(gain, 1 - layer.eps)
            elif layer.relu and found is None:
                if bias is not None:  # it cancels out, with a gradient of zero
                    offset = offset + 0 * bias
                return normalise(y, _flat(gain), _flat(offset), layer.eps, halve=layer.halve)
            else:
                used = self._of_outputs(y, bias)
        elif layer.moved:
            assert self.patches is not None
            move(layer.moved, *used, self.patches.total)
        mean, var = used
        if found is not None and isinstance(layer.norm, SupportNorm):
            true = mean if sign is None else mean * sign
            found |= {f"{layer.norm_name}.mean": true, f"{layer.norm_name}.var": var}
        scale = gain * (var + layer.eps).rsqrt()
        shift = _flat(offset + (-mean if bias is None else bias - mean) * scale)
        if y is None:
            return self._affine(layer, h, weight * scale[..., None, None, None], shift)
        return rescale(y, _flat(scale), shift, relu=layer.relu, halve=layer.halve)

    def _affine(
        self, layer: Convolution, h: Tensor, weight: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Apply a convolution whose normalisation is part of its weight and shift."""
        geometry, relu, halve = self._geometry(layer), layer.relu, layer.halve
        if layer is self.layers[0] and not h.requires_grad:
            if self.columns is not None:
                y = convolve_columns(self.columns, weight)
                y = self._side_by_side(max_pool(y) if halve else y)
                return rescale(y, None, shift, relu=relu, halve=False)
            if relu and halve and h.device.type == "cpu":
                shift = weight.new_zeros(weight.shape[:2]).flatten() if shift is None else shift
                return first_block(h, _flat(weight), shift, geometry)
        y = convolve(h, _flat(weight), geometry)
        return rescale(y, None, shift, relu=relu, halve=halve)

    def _geometry(self, layer: Convolution) -> Geometry:
        return Geometry(layer.conv.stride, layer.padding, self.tasks)

    def _dense(self, layer: Dense, state: NetworkState, h: Tensor) -> Tensor:
        weight = self._own(layer.name, layer.linear, "weight", state)  # [T, O, D]
        h = self._by_task(h)
        if layer.linear.bias is None:
            y = torch.bmm(h, weight.mT)
        else:
            bias = self._own(layer.name, layer.linear, "bias", state)
            y = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
        return y.relu() if layer.relu else y

    def _known(
        self, layer: Convolution, state: NetworkState, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Return mean and variance [T, C] of a convolution's outputs, if known beforehand."""
        norm, name = layer.norm, layer.norm_name
        assert norm is not None
        for parts in (("mean", "var"), ("running_mean", "running_var")):
            if layer.moved is None and all(
                f"{name}.{part}" in state or getattr(norm, part, None) is not None for part in parts
            ):
                mean, var = (self._own(name, norm, part, state) for part in parts)
                return mean, var
        if layer is self.layers[0] and self.patches is not None:
            mean, var = self.patches.statistics(weight)
            return mean if bias is None else mean + bias, var
        return None

    def _of_outputs(self, y: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance [T, C] of a convolution's outputs, which lack their bias."""
        mean, var = (value.view(self.tasks, -1) for value in statistics(y))
        return mean if bias is None else mean + bias, var

    def _own(self, name: str, module: nn.Module, part: str, state: NetworkState) -> Tensor:
        """Return a parameter or buffer [T, ...]: the tasks' own, or the shared one."""
        value = state.get(f"{name}.{part}")
        if value is not None:
            return value
        shared: Tensor = getattr(module, part)
        return shared.expand(self.tasks, *shared.shape)

    def _side_by_side(self, y: Tensor) -> Tensor:
        """Turn [T * N, C, H, W] into [N, T * C, H, W], channels innermost before and after."""
        y = y.permute(0, 2, 3, 1)
        y = y.reshape(self.tasks, -1, *y.shape[1:])  # [T, N, H, W, C]
        return y.permute(1, 2, 3, 0, 4).flatten(3).permute(0, 3, 1, 2)

    def _by_task(self, h: Tensor) -> Tensor:
        """Turn [N, T * C, H, W] into [T, N, C * H * W]; keep tensors that have this form."""
        return h.reshape(len(h), self.tasks, -1).transpose(0, 1) if h.ndim == 4 else h


def _flat(value: Tensor) -> Tensor:
    """Flatten [T, C] to [T * C], and weights [T, O, C, h, w] to [T * O, C, h, w].

    Weights get channels innermost.
    """
    if value.ndim == 2:
        return value.reshape(-1)
    return value.movedim(2, -1).reshape(-1, *value.shape[3:], value.shape[2]).movedim(-1, 1)
