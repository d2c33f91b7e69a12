"""Meta-SGD: MAML that also learns how far each parameter moves, and in which direction.

Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning"
(arXiv:1707.09835).

Adaptation is theta' = theta - alpha * grad L(theta), elementwise, where theta and the vector alpha
of the same size are learned together (equation 2, algorithm 1): the outer loop of MAML updates
`theta()` and `learned_rates()` by one optimiser. The paper takes one inner step and second
derivatives; other settings of MAML work here too.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metabench_plugins.maml import Maml


class MetaSgd(Maml):
    """Meta-SGD: one learned step size for each number in theta (alpha in equation 2).

    All of them start from `inner_lr`; everything else is as for MAML.
    """

    def learned_rates(self) -> nn.ParameterList:
        """Return alpha as initialised: one tensor for each parameter, of its shape."""
        first = self.inner_lr
        return nn.ParameterList(torch.full_like(p, first) for p in self.theta().values())

    def step_sizes(self) -> Mapping[str, Tensor]:
        """Return alpha by the names of the parameters."""
        return dict(zip(self.theta(), self.rates, strict=True))
