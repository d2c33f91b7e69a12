"""Functions of tensors on a GPU, recorded once and replayed from then on.

Most kernels of a small network take less time to run than to launch. A CUDA graph launches all of
them at once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from metabench.errors import UsageError, reason

Function = Callable[..., Sequence[Tensor | None]]

_RECORDED_AT = 2  # number of the call; the first one sets up lasting state
_CHECKED_FROM, _CHECKED_EVERY = 10, 1000  # calls: 10, 20, 40, ...; 1000, 2000, 3000, ...
_DEVIATION = 1e-2  # relative, by norm; kernels that sum in no fixed order differ by far less


class Recording:
    """The kernels of a function on a CUDA device, recorded once and replayed with other inputs.

    Args:
        function: runs the same kernels at each call, in the same memory except for its inputs.
        inputs: tensors; later ones must have their shapes and types.

    Raises:
        RuntimeError: it cannot be recorded, for instance because it waits for the device.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        self.inputs = [value.clone() for value in inputs]
        with torch.cuda.device(self.inputs[0].device):
            here = torch.cuda.current_stream()
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(here)
            # On another stream, as recordings are made, where everything is set up again. This
            # also finds what waits for the device: a recording that fails breaks torch's state.
            with _nothing_waits(), torch.cuda.stream(aside):
                function(*self.inputs)
            here.wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(self.graph):
                    self.outputs = function(*self.inputs)
            finally:
                torch.cuda.set_stream(here)

    def __call__(self, *inputs: Tensor) -> list[Tensor | None]:
        """Return the function's outputs for these inputs."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return [None if value is None else value.clone() for value in self.outputs]


@contextmanager
def _nothing_waits() -> Iterator[None]:
    """Make most operations that wait for the device raise RuntimeError during the block."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch warns that it does not detect everything
        warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class Replayed:
    """A function that is recorded at its second call and replayed from the third on.

    It is called as usual if it cannot be recorded, or if the recording gives different outputs,
    for instance because the function draws random numbers.

    Args:
        name: the function's name, for messages.

    Attributes:
        refused: True if it could not be recorded.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.recording: Recording | None = None
        self.refused = False

    def __call__(self, function: Function, *inputs: Tensor) -> Sequence[Tensor | None]:
        """Return the function's outputs.

        Args:
            function: the same at each call. It depends only on its inputs, and on tensors whose
                memory stays in place. It is not kept.
            *inputs: of the same shapes and types at each call.

        Raises:
            UsageError: the function now gives different outputs than when it was recorded; this
                is checked now and then.
        """
        self.calls += 1
        if self.recording is None:
            outputs = function(*inputs)
            if self.calls == _RECORDED_AT:
                self._record(function, inputs, outputs)
            return outputs
        outputs = self.recording(*inputs)
        if _due(self.calls) and _differ(outputs, function(*inputs)):
            raise UsageError(
                f"{self.name} no longer gives the outputs that it gave when it was recorded, for "
                f"the same inputs (call {self.calls}): on a GPU it may depend on parameters and "
                "episodes only, not on numbers that change"
            )
        return outputs

    def _record(
        self, function: Function, inputs: Sequence[Tensor], expected: Sequence[Tensor | None]
    ) -> None:
        try:
            recording = Recording(function, inputs)
        except RuntimeError as error:
            self.refused = True
            message = f"{self.name} is not recorded: {reason(error)}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return
        if not _differ(recording(*inputs), expected):
            self.recording = recording


def _due(calls: int) -> bool:
    times, rest = divmod(calls, _CHECKED_FROM)
    doubled = rest == 0 and times & (times - 1) == 0
    return doubled or calls % _CHECKED_EVERY == 0


def _differ(some: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    """Return whether outputs, taken together, differ by more than rounding.

    They are not compared one by one, because a gradient that should be zero is nothing but
    rounding. Outputs that are not finite are not compared.
    """
    off = size = 0.0
    for one, other in zip(some, expected, strict=True):
        if one is None or other is None:
            if one is not other:
                return True
        else:
            off += float((one - other).square().sum())
            size += float(other.square().sum())
    return math.isfinite(size) and not off <= _DEVIATION**2 * size
