"""A network pretrained on all base data at once, with a head trained for each task.

Chen et al. 2019, "A Closer Look at Few-shot Classification", ICLR (arXiv:1904.04232): the
method called Baseline there (section 3.1), with Adam. For regression it is the network trained on
all tasks together that Finn, Abbeel and Levine 2017 compare MAML with (arXiv:1703.03400,
section 5.1).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench import BaseData, BatchedLearner, Support, TaskSpec
from metabench.nets.heads import linear_head
from metabench.nets.inner_loop import task_losses
from metabench.nets.norms import normalises_by_task
from metabench.nets.per_task import NetworkState, embed, support_statistics
from metabench.nets.shapes import out_features


class Heads(NamedTuple):
    """Linear heads of T tasks, and the statistics of their support sets."""

    weight: Tensor  # [T, D, way]
    bias: Tensor  # [T, 1, way]
    statistics: NetworkState


class Pretrained(BatchedLearner):
    """A training stage on base data, then a fine-tuning stage of linear heads on fixed features.

    The training stage learns a feature extractor f_theta and a classifier of the base classes. The
    fine-tuning stage fixes theta and trains a new classifier on each support set, from zero. A
    regression task asks for the same quantity as the base data, so its head starts from the
    pretrained one.
    """

    def __init__(
        self,
        task: TaskSpec,
        backbone: str = "conv4",
        epochs: int = 0,
        batch_size: int = 128,
        lr: float = 1e-3,
        finetune_steps: int = 100,
        finetune_lr: float = 1e-2,
    ) -> None:
        super().__init__(task)
        self.backbone = task.backbone(backbone).eval()
        self.head = self._new_head(1).eval() if task.kind == "regression" else None
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.finetune_steps = finetune_steps
        self.finetune_lr = finetune_lr

    def fit(self, base: BaseData) -> None:
        """Train f_theta on most of the base data; the curve shows accuracy or error on the rest.

        A tenth of each class's images is held out, and a hundredth of each function's many points.
        """
        train, held_out = base.split(10 if self.head is None else 100)
        head = self.head or self._new_head(base.classes)
        model = nn.Sequential(self.backbone, head)
        optimizer = torch.optim.Adam(model.parameters(), self.lr)
        model.train()
        # There are millions of points: the curve cannot wait for an epoch of them.
        epoch = len(train.y) if self.head is None else 1000 * self.batch_size
        seen = 0
        for x, y in train.batches(self.batch_size, self.epochs):
            loss = self._loss(head(self.embed(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(x)
            if seen >= epoch:
                seen = 0
                base.record(loss=loss.item(), **self._held_out(model, held_out))
        if seen:  # the budget ended within an epoch
            base.record(loss=loss.item(), **self._held_out(model, held_out))
        model.eval()

    @torch.enable_grad()
    def adapt(self, support: Support) -> Heads:
        """Train a linear head on the fixed features of each support set: the fine-tuning stage."""
        with torch.no_grad():
            statistics = support_statistics(self.backbone, {}, support.x)
        features = self.features(support.x, statistics)
        weight, bias = self._first_heads(features)
        optimizer = torch.optim.Adam([weight, bias], self.finetune_lr)
        for _ in range(self.finetune_steps):
            # Summed over tasks, each task has the gradient that it would have alone.
            loss = task_losses(features @ weight + bias, support.y).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return Heads(weight.detach(), bias.detach(), statistics)

    @torch.no_grad()
    def predict(self, state: Heads, query_x: Tensor) -> Tensor:
        return self.features(query_x, state.statistics) @ state.weight + state.bias

    @torch.no_grad()
    def features(self, x: Tensor, statistics: NetworkState) -> Tensor:
        """Return the fixed features [T, N, D] of examples [T, N, *shape]."""
        if normalises_by_task(self.backbone):
            return embed(self.backbone, x, self.task.input_shape, statistics)
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Return the features [..., D] of examples [..., *shape]; once trained, of each alone."""
        return embed(self.backbone, x, self.task.input_shape)

    def _new_head(self, outputs: int) -> nn.Linear:
        width = out_features(self.backbone, self.task.input_shape)
        return linear_head(width, outputs, self.task.generator()).to(self.task.device)

    def _first_heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight [T, D, way] and bias [T, 1, way] that every task starts from."""
        tasks, _, width = features.shape
        weight = features.new_zeros(tasks, width, self.task.way)
        bias = features.new_zeros(tasks, 1, self.task.way)
        if self.head is not None:
            weight += self.head.weight.detach().T
            bias += self.head.bias.detach()
        return weight.requires_grad_(), bias.requires_grad_()

    def _loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(outputs, y) if self.head is not None else F.cross_entropy(outputs, y)

    @torch.no_grad()
    def _held_out(self, model: nn.Module, data: BaseData) -> dict[str, float]:
        """Return accuracy or mean squared error; NaN if nothing could be held out."""
        model.eval()
        parts = zip(data.x.split(self.batch_size), data.y.split(self.batch_size), strict=True)
        answers = [(model(x), y) for x, y in parts]
        model.train()
        if self.head is not None:
            return {"error": torch.cat([(out - y).square() for out, y in answers]).mean().item()}
        right = torch.cat([out.argmax(1) == y for out, y in answers])
        return {"accuracy": right.float().mean().item()}
