"""The peer learn2learn 0.2.0: modules that are cloned and updated within the graph.

Arnold et al. 2020, "learn2learn: A Library for Meta-Learning Research" (arXiv:2008.12284);
https://github.com/learnables/learn2learn, MIT.

The package's `__init__` imports reinforcement learning environments and compiled data modules,
which MAML and MetaSGD do not need. Empty packages therefore replace `learn2learn` and
`learn2learn.algorithms`; the modules in them are imported unchanged.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.base import PerTask
from benchmarks.setting import Setting
from metabench import Support


def algorithms(name: str) -> Any:
    """Import one of learn2learn's modules of algorithms."""
    package, inner = "learn2learn", "learn2learn.algorithms"
    if package not in sys.modules:
        roots = [Path(p, package) for p in sys.path if Path(p, package, "algorithms").is_dir()]
        for full, folder in ((package, ""), (inner, "algorithms")):
            stand_in = ModuleType(full)
            stand_in.__path__ = [str(root / folder) for root in roots]
            sys.modules[full] = stand_in
    return importlib.import_module(f"{inner}.{name}")


class Learn2learn(PerTask):
    """MAML and Meta-SGD by `clone` and `adapt` of learn2learn's classes.

    At test time, clones are to first order, which gives the same parameters faster than the
    default.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        lr, first_order = setting.inner_lr, setting.first_order
        if setting.meta_sgd:
            own = nn.ParameterList(self.rates)
            self.wrapped = algorithms("meta_sgd").MetaSGD(
                self.network, lr=lr, first_order=first_order, lrs=own
            )
        else:
            self.wrapped = algorithms("maml").MAML(self.network, lr=lr, first_order=first_order)

    def backward(self, support: Support, query: Support, share: float) -> float:
        clone = self._adapted(support, self.setting.first_order)
        loss = share * F.cross_entropy(clone(query.x), query.y)
        loss.backward()
        return loss.item()

    def logits(self, support: Support, query_x: Tensor) -> Tensor:
        clone = self._adapted(support, first_order=True)
        with torch.no_grad():
            return clone(query_x)

    def _adapted(self, support: Support, first_order: bool) -> nn.Module:
        clone: nn.Module = self.wrapped.clone()
        for _ in range(self.setting.steps):
            clone.adapt(F.cross_entropy(clone(support.x), support.y), first_order=first_order)
        return clone
