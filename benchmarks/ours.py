"""The contenders of metabench: MAML and Meta-SGD from its catalogue."""

from __future__ import annotations

from torch import Tensor, nn

from benchmarks.setting import Setting
from metabench import Episodes
from metabench_plugins.maml import Maml
from metabench_plugins.meta_sgd import MetaSgd


class Ours:
    """The contender of metabench; peers take their weights from its `learner`.

    Args:
        setting: the case. Batch normalisation takes its statistics from the batch, because
            peers' networks do.
    """

    def __init__(self, setting: Setting) -> None:
        build = MetaSgd if setting.meta_sgd else Maml
        self.learner = build(
            setting.task(),
            backbone=f"conv4[bn=episode,channels={setting.channels}]",
            inner_lr=setting.inner_lr,
            inner_steps=setting.steps,
            first_order=setting.first_order,
        )
        self.learner.network.to(setting.dtype)
        self.learner.rates.to(setting.dtype)

    def meta_step(self, episodes: Episodes) -> float:
        """Do one outer update."""
        return self.learner.meta_step(episodes)

    def answer(self, episodes: Episodes) -> Tensor:
        """Adapt to each support set and predict the queries, [T, Q, way]."""
        return self.learner.predict(self.learner.adapt(episodes.support), episodes.query.x)

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that `meta_step` updates: the network's, then the step sizes."""
        return [*self.learner.network.parameters(), *self.learner.rates]
