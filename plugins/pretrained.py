"""A network pretrained on all base data at once, with a head trained for each task.

Chen et al. 2019, "A Closer Look at Few-shot Classification", ICLR (arXiv:1904.04232): the
method called Baseline there (section 3.1), without augmentation; the heads are fine-tuned on the
whole support set at once by Adam. For regression it is like the network trained on all tasks
together that Finn, Abbeel and Levine 2017 compare MAML with (arXiv:1703.03400, section 5.1), but
only the head is fine-tuned, by Adam; theirs fine-tunes the whole network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench import BaseData, Support, TaskSpec
from metabench.nets.embedding_learner import EmbeddingLearner
from metabench.nets.heads import head_on
from metabench.nets.inner_loop import task_losses
from metabench.nets.per_task import NetworkState


class Pretrained(EmbeddingLearner):
    """A training stage on base data, then a fine-tuning stage of linear heads on fixed features.

    The training stage learns a feature extractor f_theta and a classifier C(.|W_b) of the base
    classes. The fine-tuning stage fixes theta and trains a new classifier C(.|W_n) on each support
    set, from zero. A regression task asks for the same quantity as the base data, so its head
    starts from the pretrained one.
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
        super().__init__(task, backbone)
        self.head = head_on(self.backbone, task, 1).eval() if task.kind == "regression" else None
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.finetune_steps = finetune_steps
        self.finetune_lr = finetune_lr

    def fit(self, base: BaseData) -> None:
        """Train f_theta on most of the base data; the curve shows accuracy or error on the rest.

        A tenth of each class's images is held out; for regression, one point in a hundred.
        """
        train, held_out = base.split(10 if self.head is None else 100)
        head = self.head or head_on(self.backbone, self.task, base.classes)
        loss_of = F.cross_entropy if self.head is None else F.mse_loss
        model = nn.Sequential(self.backbone, head)
        optimizer = torch.optim.Adam(model.parameters(), self.lr)
        model.train()
        # With millions of points, an epoch is too long between two points of the curve.
        epoch = len(train.y) if self.head is None else 1000 * self.batch_size
        seen = 0
        for x, y in train.batches(self.batch_size, self.epochs):
            loss = loss_of(head(self.embed(x)), y)
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
    def adapt(self, support: Support) -> tuple[Tensor, Tensor, NetworkState]:
        """Fine-tune linear heads, weight [T, D, way] and bias [T, 1, way], on fixed features."""
        with torch.no_grad():
            (features, y), statistics = self.embed_support(support)
        tasks, _, width = features.shape
        weight = features.new_zeros(tasks, width, self.task.way)
        bias = features.new_zeros(tasks, 1, self.task.way)
        if self.head is not None:
            weight += self.head.weight.detach().T
            bias += self.head.bias.detach()
        classifier = [weight.requires_grad_(), bias.requires_grad_()]
        optimizer = torch.optim.Adam(classifier, self.finetune_lr)
        for _ in range(self.finetune_steps):
            # Summing over tasks leaves each task's gradient as it would be alone.
            loss = task_losses(features @ weight + bias, y).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return weight.detach(), bias.detach(), statistics

    @torch.no_grad()
    def predict(self, state: tuple[Tensor, Tensor, NetworkState], query_x: Tensor) -> Tensor:
        weight, bias, statistics = state
        return self.embed_queries(query_x, statistics) @ weight + bias

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
