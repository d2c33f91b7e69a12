"""Functions of tensors on a GPU, recorded once and replayed from then on.

Of small networks most kernels run for a shorter time than it takes to start them. A CUDA graph
starts all of them at once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from metabench.errors import UsageError

Function = Callable[..., Sequence[Tensor | None]]

_RECORDED_AT = 2  # the call; the first one sets up what lasts
_CHECKED_FROM, _CHECKED_EVERY = 10, 1000  # calls: 10, 20, 40, ...; 1000, 2000, 3000, ...
_DEVIATION = 1e-2  # by norm: kernels that add up in no fixed order differ by far less


class Recording:
    """What a function did once on a CUDA device, to be done again with other inputs.

    Args:
        function: the same kernels at each call, in the same memory but for its inputs.
        inputs: tensors; others are to have their shapes and types.

    Raises:
        RuntimeError: it cannot be recorded, for instance because it waits for the device.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        self.inputs = [value.clone() for value in inputs]
        with torch.cuda.device(self.inputs[0].device):
            here = torch.cuda.current_stream()
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(here)
            # Aside, as a recording is made, where all is set up anew. What would wait for the
            # device is found out here: a recording that breaks off leaves torch in disorder.
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
        """What the function gives for these inputs."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return [None if value is None else value.clone() for value in self.outputs]


@contextmanager
def _nothing_waits() -> Iterator[None]:
    """Within, most of what waits for the device raises RuntimeError instead."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch says that it does not find everything
        warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class Replayed:
    """A function that is recorded at its second call and replayed from the third on.

    It stays as it is if it cannot be recorded, or if the recording gives something else: where
    chance is part of it, for instance.

    Args:
        name: of the function, for messages.

    Attributes:
        refused: it could not be recorded.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.recording: Recording | None = None
        self.refused = False

    def __call__(self, function: Function, *inputs: Tensor) -> Sequence[Tensor | None]:
        """What the function gives.

        Args:
            function: the same at each call; it depends on nothing but its inputs, and on tensors
                that stay where they are. It is not kept.
            *inputs: of the same shapes and types at each call.

        Raises:
            UsageError: it gives something else by now than what was recorded. That is looked at
                now and then.
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
                f"{self.name} gives something else than when it was recorded, for the same inputs "
                f"(call {self.calls}): on a GPU it may depend on parameters and episodes only, not "
                "on numbers that change"
            )
        return outputs

    def _record(
        self, function: Function, inputs: Sequence[Tensor], expected: Sequence[Tensor | None]
    ) -> None:
        try:
            recording = Recording(function, inputs)
        except RuntimeError as error:
            self.refused = True
            reason = str(error).partition("\n")[0]
            warnings.warn(f"{self.name} is not recorded: {reason}", RuntimeWarning, stacklevel=2)
            return
        if not _differ(recording(*inputs), expected):
            self.recording = recording


def _due(calls: int) -> bool:
    times, rest = divmod(calls, _CHECKED_FROM)
    doubled = rest == 0 and times & (times - 1) == 0
    return doubled or calls % _CHECKED_EVERY == 0


def _differ(some: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    """Whether outputs are off by more than rounding, all together.

    Each by itself would not do: a gradient that should be zero is nothing but rounding. What is
    not finite is not compared.
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
