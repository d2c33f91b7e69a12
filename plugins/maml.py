"""Model-agnostic meta-learning: an initialisation from which few gradient steps suffice.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks", ICML (arXiv:1703.03400).

The inner loop adapts the parameters theta of a model f to the support set of task i:
theta'_i = theta - alpha * grad L_i(f_theta). The outer loop updates theta by the gradient of the
loss of f_theta'_i on the queries (section 2.2, algorithm 2). `Episodes` holds the batch of tasks:
`support` is D and `query` is D'. Step sizes are for mean losses, and the outer loss is the mean
over tasks, where the paper takes their sum. docs/protocols.md compares published step sizes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metabench import BatchedLearner, Episodes, Support, TaskSpec, UsageError
from metabench.nets.heads import check_way, head_on
from metabench.nets.inner_loop import answering_state, sgd_steps, task_losses
from metabench.nets.per_task import NetworkState, move_running_statistics, per_task
from metabench.nets.shapes import activation_bytes
from metabench.nets.task_batches import TaskGradients, tasks_at_once


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
                f"inner_steps={inner_steps}, adapt_steps={adapt_steps}: inner_steps must be at "
                "least 1, and adapt_steps at least 0 (0 means inner_steps)"
            )
        body = task.backbone(backbone)
        std = 0.01 if task.kind == "regression" else 0.0  # as in the code published with the paper
        self.network = nn.Sequential(body, head_on(body, task, task.way, std)).eval()
        self.activation_bytes = activation_bytes(self.network, task.input_shape)
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.adapt_steps = adapt_steps or inner_steps
        self.first_order = first_order
        self.tasks_at_once = task.tasks_at_once
        self.rates = self.learned_rates().eval()
        learned = [*self.theta().values(), *self.rates]
        self.optimizer = torch.optim.Adam(learned, lr)
        self.gradients = TaskGradients(learned)

    def theta(self) -> dict[str, nn.Parameter]:
        """Return theta by name, from which every task starts: what requires gradients."""
        own = self.network.named_parameters()
        return {name: parameter for name, parameter in own if parameter.requires_grad}

    def learned_rates(self) -> nn.ParameterList:
        """Return the step sizes that are learned together with theta; MAML has none."""
        return nn.ParameterList()

    def step_sizes(self) -> float | Mapping[str, Tensor]:
        """Return the step sizes alpha of the inner loop."""
        return self.inner_lr

    def inner_loop(self, support: Support, steps: int, second_order: bool = False) -> NetworkState:
        """Return theta'_i of every task after a number of steps (algorithm 2, lines 6 and 7).

        If the network normalises by statistics of the support set, they are part of it.
        """
        theta, alpha = self.theta(), self.step_sizes()
        adapted = sgd_steps(self.network, theta, support, alpha, steps, second_order=second_order)
        return answering_state(self.network, adapted, support)

    def meta_loss(self, episodes: Episodes) -> Tensor:
        """Return the mean over tasks of the query loss of f_theta'_i (algorithm 2, line 10).

        `TaskGradients` may record it as a CUDA graph, so it depends on parameters, episodes and
        settings alone.
        """
        adapted = self.inner_loop(episodes.support, self.inner_steps, not self.first_order)
        outputs = per_task(self.network, adapted, episodes.query.x)
        return task_losses(outputs, episodes.query.y).mean()

    def meta_step(self, episodes: Episodes) -> float:
        """Update theta once by Adam: one step of the outer loop (algorithm 2, line 10)."""
        check_way(episodes, self.task.way)
        steps = 1 if self.first_order else self.inner_steps
        fitting = tasks_at_once(episodes, self.activation_bytes, steps)
        self.tasks_at_once = self.task.tasks_at_once or fitting
        self.optimizer.zero_grad()
        settings = self.inner_lr, self.inner_steps, self.first_order
        loss = self.gradients.add(self.meta_loss, episodes, self.tasks_at_once, settings)
        self.optimizer.step()
        move_running_statistics(self.network, episodes)
        return loss

    @torch.no_grad()
    def adapt(self, support: Support) -> NetworkState:
        """Return theta'_i of every task, as constants."""
        adapted = self.inner_loop(support, self.adapt_steps)
        return {name: value.detach() for name, value in adapted.items()}

    @torch.no_grad()
    def predict(self, state: NetworkState, query_x: Tensor) -> Tensor:
        """Return the outputs of f_theta'_i for the queries of task i."""
        return per_task(self.network, state, query_x)
