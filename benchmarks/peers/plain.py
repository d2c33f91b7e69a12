"""The plain loop: MAML with torch's autograd, without any library.

Finn, Abbeel and Levine 2017, algorithm 2 (arXiv:1703.03400), written out. It needs only torch and
no patch. The gradients of every other contender are compared with it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from benchmarks.peers.base import PerTask
from metabench import Support


class PlainLoop(PerTask):
    """MAML by `torch.autograd.grad` for inner steps and `backward` for the outer one."""

    def backward(self, support: Support, query: Support, share: float) -> float:
        adapted = self._adapted(support, second_order=not self.setting.first_order)
        loss = share * F.cross_entropy(functional_call(self.network, adapted, query.x), query.y)
        loss.backward()
        return loss.item()

    def logits(self, support: Support, query_x: Tensor) -> Tensor:
        adapted = self._adapted(support, second_order=False)
        with torch.no_grad():
            return functional_call(self.network, adapted, query_x)

    def _adapted(self, support: Support, second_order: bool) -> dict[str, Tensor]:
        values: dict[str, Tensor] = dict(self.network.named_parameters())
        rates = self.rates or [self.setting.inner_lr] * len(values)
        for _ in range(self.setting.steps):
            loss = F.cross_entropy(functional_call(self.network, values, support.x), support.y)
            grads = torch.autograd.grad(loss, list(values.values()), create_graph=second_order)
            values = {
                name: value - rate * grad
                for (name, value), rate, grad in zip(values.items(), rates, grads, strict=True)
            }
        return values
