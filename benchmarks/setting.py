"""The work of contenders for MAML: tasks of random images, and a network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from metabench import Episodes, Support, TaskSpec
from metabench.nets.backbones import BACKBONES

SEED = 0


@dataclass(frozen=True)
class Setting:
    """One case of a benchmark.

    Attributes:
        shot: support images of each class.
        steps: inner steps.
        tasks: tasks at once (the meta-batch).
        way: classes of each task.
        query: query images of each class.
        inner_lr: step size of the inner loop, or the start of learned step sizes.
        meta_sgd: learn a step size for each parameter.
        first_order: leave second derivatives out.
        double: compute in float64.
        side: height and width of the images; at least 16, so that every block halves them.
        channels: channels of the network.
        device: the device of everything.
    """

    shot: int = 1
    steps: int = 1
    tasks: int = 16
    way: int = 5
    query: int = 15
    inner_lr: float = 0.4
    meta_sgd: bool = False
    first_order: bool = False
    double: bool = False
    side: int = 28
    channels: int = 64
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.way}-way {self.shot}-shot, {self.steps} step{'s' * (self.steps != 1)}"

    @property
    def dtype(self) -> torch.dtype:
        """The type of images and parameters."""
        return torch.float64 if self.double else torch.float32

    def as_json(self) -> dict[str, Any]:
        """Return the setting as keyword arguments that JSON can hold."""
        return asdict(self)

    def task(self) -> TaskSpec:
        """Return the task that our learners are built for."""
        return TaskSpec(
            input_shape=(1, self.side, self.side),
            way=self.way,
            shot=self.shot,
            device=self.device,
            seed=SEED,
            backbones={backbone.name: backbone for backbone in BACKBONES},
        )

    def episodes(self) -> Episodes:
        """Draw random images with balanced labels, the same in every process."""
        generator = torch.Generator().manual_seed(SEED)

        def labelled(each: int) -> Support:
            shape = (self.tasks, self.way * each, 1, self.side, self.side)
            x = torch.rand(shape, generator=generator, dtype=torch.float64).to(self.dtype)
            y = torch.arange(self.way).repeat(self.tasks, each)
            return Support(x.to(self.device), y.to(self.device))

        return Episodes(labelled(self.shot), labelled(self.query), self.way)
