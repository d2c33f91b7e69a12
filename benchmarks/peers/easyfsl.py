"""The peer easyfsl 1.5.0: prototypical networks and the sampler of few-shot tasks.

Sicara, "Easy Few-Shot Learning"; https://github.com/sicara/easy-few-shot-learning, MIT.
It needs two patches. torch's `Sampler` no longer takes the `data_source` that the task sampler
passes, so a base class in between takes it. A torchvision whose operators do not load is imported
without registering them, as metabench itself does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from metabench.data.download import torchvision_datasets

torchvision_datasets()  # before easyfsl imports it

from easyfsl.datasets import FewShotDataset  # noqa: E402
from easyfsl.methods import PrototypicalNetworks  # noqa: E402
from easyfsl.samplers import TaskSampler  # noqa: E402
from easyfsl.utils import evaluate  # noqa: E402


class _Sampler(Sampler[Any]):
    def __init__(self, data_source: None = None) -> None:
        pass


TaskSampler.__bases__ = (_Sampler,)


class Images(FewShotDataset):
    """Float images in memory, so that the loader has nothing to decode or convert."""

    def __init__(self, images: Tensor, labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        return self.images[item], self.labels[item]

    def __len__(self) -> int:
        return len(self.labels)

    def get_labels(self) -> list[int]:
        """Return the class of each image."""
        return self.labels


def loader(
    images: Tensor, labels: list[int], way: int, shot: int, query: int, tasks: int
) -> Iterable[list[Tensor]]:
    """Load random tasks in this process, because workers are slower on small images."""
    dataset = Images(images, labels)
    sampler = TaskSampler(dataset, n_way=way, n_shot=shot, n_query=query, n_tasks=tasks)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)


def accuracy(backbone: nn.Module, tasks: list[tuple[Any, ...]]) -> float:
    """Evaluate a prototypical network on tasks with easyfsl's own function."""
    device = str(next(backbone.parameters()).device)
    found: float = evaluate(PrototypicalNetworks(backbone), tasks, device=device, use_tqdm=False)
    return found


@torch.no_grad()
def predictions(backbone: nn.Module, tasks: list[tuple[Any, ...]]) -> Tensor:
    """Return the classes that a prototypical network predicts, [T, Q]."""
    model, device = PrototypicalNetworks(backbone).eval(), next(backbone.parameters()).device
    found = []
    for support_x, support_y, query_x, *_ in tasks:
        model.process_support_set(support_x.to(device), support_y.to(device))
        found.append(model(query_x.to(device)).argmax(1).cpu())
    return torch.stack(found)
