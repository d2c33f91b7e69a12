"""A network pretrained on all base classes at once, its head replaced for each task.

Chen et al. 2019, "A Closer Look at Few-shot Classification", ICLR (arXiv:1904.04232):
the method called Baseline there, with Adam.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench import BaseData, BatchedLearner, Support, TaskSpec
from metabench.nets.heads import linear_head
from metabench.nets.shapes import embed, out_features


class Pretrained(BatchedLearner):
    """Ordinary classification of the base classes, then linear heads on frozen features."""

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
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.finetune_steps = finetune_steps
        self.finetune_lr = finetune_lr

    def fit(self, base: BaseData) -> None:
        """Train on nine tenths of the base images; the curve shows accuracy on the rest."""
        train, held_out = base.split(10)
        width = out_features(self.backbone, self.task.input_shape)
        head = linear_head(width, base.classes, self.task.generator())
        model = nn.Sequential(self.backbone, head.to(self.task.device))
        optimizer = torch.optim.Adam(model.parameters(), self.lr)
        model.train()
        epoch, seen = len(train.y), 0
        for x, y in train.batches(self.batch_size, self.epochs):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(x)
            if seen == epoch:
                seen = 0
                base.record(loss=loss.item(), accuracy=self._accuracy(model, held_out))
        if seen:  # the budget ended within an epoch
            base.record(loss=loss.item(), accuracy=self._accuracy(model, held_out))
        model.eval()

    @torch.no_grad()
    def _accuracy(self, model: nn.Module, data: BaseData) -> float:
        model.eval()
        parts = zip(data.x.split(self.batch_size), data.y.split(self.batch_size), strict=True)
        right = torch.cat([model(x).argmax(1) == y for x, y in parts])
        model.train()
        return right.float().mean().item()  # not a number if nothing could be held out

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Images [..., *shape] -> frozen features [..., D]."""
        return embed(self.backbone, x, self.task.input_shape)

    @torch.enable_grad()
    def adapt(self, support: Support) -> tuple[Tensor, Tensor]:
        features, labels = self.embed(support.x), support.y
        tasks, shots, width = features.shape
        weight = features.new_zeros(tasks, width, self.task.way, requires_grad=True)
        bias = features.new_zeros(tasks, 1, self.task.way, requires_grad=True)
        optimizer = torch.optim.Adam([weight, bias], self.finetune_lr)
        for _ in range(self.finetune_steps):
            logits = features @ weight + bias
            # Summed over tasks, each task has the gradient that it would have alone.
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / shots
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return weight.detach(), bias.detach()

    @torch.no_grad()
    def predict(self, state: tuple[Tensor, Tensor], query_x: Tensor) -> Tensor:
        weight, bias = state
        return self.embed(query_x) @ weight + bias
