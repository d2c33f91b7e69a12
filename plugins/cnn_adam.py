"""Ordinary deep learning: a network trained from scratch on the support set alone.

Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", ICLR (arXiv:1412.6980).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench import Learner, Support, TaskSpec
from metabench.nets.heads import head_on
from metabench.nets.per_task import NetworkState, per_task, support_statistics


class CnnAdam(Learner):
    """A network trained with Adam on each support set, without learning from other classes."""

    def __init__(
        self, task: TaskSpec, backbone: str = "cnn", lr: float = 5e-3, steps: int = 7
    ) -> None:
        super().__init__(task)
        body = task.backbone(backbone)
        self.model = nn.Sequential(body, head_on(body, task, task.way)).eval()
        self.lr = lr
        self.steps = steps

    @torch.enable_grad()
    def adapt(self, support: Support) -> tuple[nn.Module, NetworkState]:
        model = copy.deepcopy(self.model).train()
        optimizer = torch.optim.Adam(model.parameters(), self.lr, fused=True)
        for _ in range(self.steps):
            optimizer.zero_grad()
            F.cross_entropy(model(support.x), support.y).backward()
            optimizer.step()
        with torch.no_grad():
            return model.eval(), support_statistics(model, {}, support.x[None])

    @torch.no_grad()
    def predict(self, state: tuple[nn.Module, NetworkState], query_x: Tensor) -> Tensor:
        model, statistics = state
        if statistics:
            return per_task(model, statistics, query_x[None])[0]
        logits: Tensor = model(query_x)
        return logits
