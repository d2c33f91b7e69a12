"""The peer higher 0.2.1: differentiable optimisers over patched modules.

Grefenstette et al. 2019, "Generalized Inner Loop Meta-Learning" (arXiv:1910.01727);
https://github.com/facebookresearch/higher, Apache-2.0. It needs no patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import higher
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.base import PerTask
from benchmarks.setting import Setting
from metabench import Support


class Higher(PerTask):
    """MAML by `innerloop_ctx` around torch's SGD.

    To first order, nothing is tracked through the inner steps, and the gradient at the adapted
    parameters is the meta-gradient. Meta-SGD needs the tracking for its step sizes, so higher's
    callback detaches the gradients instead.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.tracked = setting.meta_sgd or not setting.first_order
        values = list(self.network.parameters())
        groups = [{"params": [value]} for value in values] if self.rates else values
        self.inner = torch.optim.SGD(groups, lr=setting.inner_lr)
        self.override = {"lr": self.rates} if self.rates else None

    def backward(self, support: Support, query: Support, share: float) -> float:
        with self._adapted(support, self.tracked) as fast:
            loss = share * F.cross_entropy(fast(query.x), query.y)
            if self.tracked:
                loss.backward()
            else:
                grads = torch.autograd.grad(loss, list(fast.parameters()))
                for value, grad in zip(self.network.parameters(), grads, strict=True):
                    value.grad = grad if value.grad is None else value.grad + grad
        return loss.item()

    def logits(self, support: Support, query_x: Tensor) -> Tensor:
        with self._adapted(support, tracked=False) as fast, torch.no_grad():
            return fast(query_x)

    @contextmanager
    def _adapted(self, support: Support, tracked: bool) -> Iterator[nn.Module]:
        cut = _detached if tracked and self.setting.first_order else None
        with higher.innerloop_ctx(
            self.network,
            self.inner,
            copy_initial_weights=False,  # so that gradients reach them
            track_higher_grads=tracked,
            override=self.override,
        ) as (fast, inner):
            for _ in range(self.setting.steps):
                inner.step(F.cross_entropy(fast(support.x), support.y), grad_callback=cut)
            yield fast


def _detached(grads: list[Tensor]) -> list[Tensor]:
    return [grad.detach() for grad in grads]
