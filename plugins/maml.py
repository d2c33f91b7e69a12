"""Model-agnostic meta-learning: an initialisation from which few gradient steps suffice.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks", ICML (arXiv:1703.03400).

The inner loop adapts the parameters theta of a model f to the support set of task i:
theta'_i = theta - alpha * grad L_i(f_theta). The outer loop updates theta by the gradient of the
loss of f_theta'_i on the queries (section 2.2, algorithm 2).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metabench import BatchedLearner, Episodes, Support, TaskSpec, UsageError
from metabench.nets.heads import linear_head, small_init
from metabench.nets.inner_loop import answering_state, sgd_steps, task_losses
from metabench.nets.norms import has_running_statistics
from metabench.nets.per_task import NetworkState, embed, per_task
from metabench.nets.shapes import activation_bytes, out_features
from metabench.nets.task_batches import TaskGradients, tasks_at_once

_REGRESSION_STD = 0.01  # of every layer's initial weights, in the code published with the paper


class Maml(BatchedLearner):
    """MAML: learned parameters theta of backbone and head, from which the inner loop starts.

    Args:
        task: the task that it is built for.
        backbone: address of the backbone; its `bn=` decides the source of the statistics of
            batch normalisation.
        lr: learning rate of the outer loop (beta), which uses Adam.
        inner_lr: step size of the inner loop (alpha), for mean losses.
        inner_steps: inner steps in meta-training.
        adapt_steps: inner steps at test; 0: as in meta-training.
        first_order: leave out second derivatives (FOMAML, section 5.2).
    """

    def __init__(
        self,
        task: TaskSpec,
        backbone: str = "conv4[bn=support]",
        lr: float = 1e-3,
        inner_lr: float = 0.1,
        inner_steps: int = 1,
        adapt_steps: int = 0,
        first_order: bool = False,
    ) -> None:
        super().__init__(task)
        if inner_steps < 1 or adapt_steps < 0:
            raise UsageError(
                f"inner_steps={inner_steps}, adapt_steps={adapt_steps}: ask for at least one inner "
                "step, and no fewer than 0 (as many) at test"
            )
        body = task.backbone(backbone)
        head = linear_head(out_features(body, task.input_shape), task.way, task.generator())
        if task.kind == "regression":
            small_init(head, _REGRESSION_STD, task.generator())
        self.network = nn.Sequential(body, head.to(task.device)).eval()
        self.activation_bytes = activation_bytes(self.network, task.input_shape)
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.adapt_steps = adapt_steps or inner_steps
        self.first_order = first_order
        self.tasks_at_once = task.tasks_at_once
        self.rates = self.learned_rates().eval()
        learned = [*self.start().values(), *self.rates]
        self.optimizer = torch.optim.Adam(learned, lr)
        self.gradients = TaskGradients(learned)

    def start(self) -> dict[str, nn.Parameter]:
        """Return theta by name, where every task starts: the parameters that require gradients."""
        own = self.network.named_parameters()
        return {name: parameter for name, parameter in own if parameter.requires_grad}

    def learned_rates(self) -> nn.ParameterList:
        """Return the step sizes that are learned together with theta, in its order: none."""
        return nn.ParameterList()

    def step_sizes(self) -> float | Mapping[str, Tensor]:
        """Return the step sizes alpha of the inner loop."""
        return self.inner_lr

    def meta_loss(self, episodes: Episodes) -> Tensor:
        """Return the mean over tasks of the query loss of f_theta'_i (algorithm 2, line 10).

        `TaskGradients` may record it: it depends on parameters, episodes and settings alone.
        """
        if episodes.way > self.task.way:
            raise UsageError(
                f"training episodes are {episodes.way}-way, the head has {self.task.way} outputs: "
                f"ask for train_way={self.task.way} or fewer"
            )
        adapted = sgd_steps(
            self.network,
            self.start(),
            episodes.support,
            self.step_sizes(),
            self.inner_steps,
            second_order=not self.first_order,
        )
        state = answering_state(self.network, adapted, episodes.support)
        outputs = per_task(self.network, state, episodes.query.x)
        return task_losses(outputs, episodes.query.y).mean()

    def meta_step(self, episodes: Episodes) -> float:
        """Update theta once by Adam: one step of the outer loop (algorithm 2, line 10)."""
        steps = 1 if self.first_order else self.inner_steps
        fit = tasks_at_once(episodes, self.activation_bytes, steps)
        self.tasks_at_once = self.task.tasks_at_once or fit
        self.optimizer.zero_grad()
        settings = self.inner_lr, self.inner_steps, self.first_order
        loss = self.gradients.add(self.meta_loss, episodes, self.tasks_at_once, settings)
        self.optimizer.step()
        self._follow(episodes)
        return loss

    def adapt(self, support: Support) -> NetworkState:
        """Return theta'_i of every task: the inner loop (algorithm 2, lines 6 and 7)."""
        adapted = sgd_steps(
            self.network, self.start(), support, self.step_sizes(), self.adapt_steps
        )
        fixed = {name: value.detach() for name, value in adapted.items()}
        with torch.no_grad():
            return answering_state(self.network, fixed, support)

    @torch.no_grad()
    def predict(self, state: NetworkState, query_x: Tensor) -> Tensor:
        """Return the outputs of f_theta'_i for the queries of task i."""
        return per_task(self.network, state, query_x)

    @torch.no_grad()
    def _follow(self, episodes: Episodes) -> None:
        """Let running statistics, if there are any, follow the training images."""
        if has_running_statistics(self.network):
            images = torch.cat([episodes.support.x, episodes.query.x], dim=1)
            self.network.train()
            embed(self.network, images.flatten(0, 1), self.task.input_shape)
            self.network.eval()
