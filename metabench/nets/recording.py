"""Functions of tensors on a GPU, recorded once and replayed from then on.

Of small networks most kernels run for a shorter time than it takes to start them. A CUDA graph
starts all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metabench.errors import UsageError

Function = Callable[..., Sequence[Tensor | None]]

_RECORDED_AT = 2  # the call; the first one sets up what lasts
_CHECKED_AT = (10, 100)  # calls, and every so many:
_CHECKED_EVERY = 1000
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
            with torch.cuda.stream(aside):  # as a recording is made, where all is set up anew
                function(*self.inputs)
            here.wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.outputs = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> list[Tensor | None]:
        """What the function gives for these inputs."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return [None if value is None else value.clone() for value in self.outputs]


class Replayed:
    """A function that is recorded at its second call and replayed from the third on.

    It stays as it is if it cannot be recorded, or if the recording gives something else: where
    chance is part of it, for instance.

    Args:
        function: depends on nothing but its inputs, and on tensors that stay where they are.
        name: of the function, for messages.
    """

    def __init__(self, function: Function, name: str) -> None:
        self.function, self.name = function, name
        self.calls = 0
        self.recording: Recording | None = None

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor | None]:
        """What the function gives.

        Raises:
            UsageError: it gives something else by now than what was recorded. That is looked at
                now and then.
        """
        self.calls += 1
        if self.recording is None:
            outputs = self.function(*inputs)
            if self.calls == _RECORDED_AT:
                self.recording = _recorded(self.function, inputs, outputs)
            return outputs
        outputs = self.recording(*inputs)
        due = self.calls in _CHECKED_AT or self.calls % _CHECKED_EVERY == 0
        if due and _differ(outputs, self.function(*inputs)):
            raise UsageError(
                f"{self.name} gives something else than when it was recorded, for the same inputs "
                f"(call {self.calls}): on a GPU it may depend on parameters and episodes only, not "
                "on numbers that change"
            )
        return outputs


def _recorded(
    function: Function, inputs: Sequence[Tensor], expected: Sequence[Tensor | None]
) -> Recording | None:
    try:
        recording = Recording(function, inputs)
        return None if _differ(recording(*inputs), expected) else recording
    except RuntimeError:
        return None


def _differ(some: Sequence[Tensor | None], others: Sequence[Tensor | None]) -> bool:
    """Whether outputs differ by more than rounding, all together.

    Each by itself would not do: a gradient that should be zero is nothing but rounding.
    """
    if any((one is None) != (other is None) for one, other in zip(some, others, strict=True)):
        return True
    off = size = 0.0
    for one, other in zip(some, others, strict=True):
        if one is not None and other is not None:
            off += float((one - other).square().sum())
            size += float(other.square().sum())
    return off > _DEVIATION**2 * size  # never of what is not finite
