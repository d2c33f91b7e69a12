"""Base data for learners with `fit`, metered: metabench counts, not the learner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, from_numpy

from metabench.cell.messages import TrainingPlan
from metabench.data.dataset import Indices, truth
from metabench.errors import UsageError
from metabench.results.schema import CurvePoint
from metabench.suites.random_words import episode_words, permute, stream_key
from metabench.suites.training_data import TrainingData
from metabench.worker.answering import gather, tensor_on
from metabench.worker.clock import now

Report = Callable[[float, dict[str, float | None]], None]


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """Replace values that are not finite by None: JSON has no NaN."""
    return {k: float(v) if math.isfinite(v) else None for k, v in values.items()}


@dataclass
class Meter:
    """The part of its budget that a learner with `fit` has used."""

    plan: TrainingPlan
    report: Report
    updates: int = 0
    images: int = 0
    started: float = field(default_factory=now)
    curve: list[CurvePoint] = field(default_factory=list)

    @property
    def tasks(self) -> int:
        """Number of images so far, converted to tasks of the suite's size."""
        return math.ceil(self.images / self.plan.images_per_task)

    def fraction(self, updates: int | None) -> float:
        """Return the share of the tightest limit that is used; 1 or more ends training."""
        plan = self.plan
        used = [0.0]
        if updates is not None:
            used.append(self.updates / updates)
        if plan.tasks is not None:
            used.append(self.images / (plan.tasks * plan.images_per_task))
        if plan.seconds is not None:
            used.append((now() - self.started) / plan.seconds)
        return max(used)


class Base:
    """`BaseData` over the base images of a `TrainingData`."""

    def __init__(
        self,
        material: TrainingData,
        meter: Meter,
        device: str,
        subset: Indices | None = None,
        held_out: bool = False,
    ) -> None:
        self._material, self._examples = material, tensor_on(material.images)
        self._meter = meter
        self._device = device
        self._held_out = held_out  # for evaluation, not for training
        self._subset = np.arange(len(material.labels)) if subset is None else subset

    @property
    def x(self) -> Tensor:
        if not self._held_out:
            self._meter.images = max(self._meter.images, len(self._subset))
        return gather(self._examples, self._subset, self._device)

    @property
    def y(self) -> Tensor:
        return self._truth(self._subset)

    @property
    def classes(self) -> int:
        return self._material.classes

    def split(self, every: int) -> tuple[Base, Base]:
        if every < 2:
            raise UsageError(f"split({every}): must be at least 2")
        held = _place_in_class(self._material.labels[self._subset]) % every == every - 1
        return self._part(self._subset[~held]), self._part(self._subset[held], held_out=True)

    def batches(self, size: int, epochs: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        meter, plan = self._meter, self._meter.plan
        key = stream_key(self._material.content, "batches", str(plan.training_seed))
        count = len(self._subset)
        if size < 1 or count == 0:
            raise UsageError(f"batches({size}) of {count} examples: both must be at least 1")
        # A budget of tasks limits images here; `plan` also expresses it in outer updates.
        preset = plan.updates if plan.tasks is None else None
        updates = epochs * math.ceil(count / size) if epochs else preset
        epoch = 0
        while True:
            order = permute(episode_words(key, epoch, 1, count))[0]
            for start in range(0, count, size):
                if meter.fraction(updates) >= 1 and meter.updates:  # at least one batch
                    return
                members = self._subset[order[start : start + size]]
                meter.updates += 1
                meter.images += len(members)
                meter.report(min(meter.fraction(updates), 1.0), {})
                yield gather(self._examples, members, self._device), self._truth(members)
            epoch += 1

    def record(self, **values: float) -> None:
        point = CurvePoint(update=self._meter.updates, values=finite(values))
        self._meter.curve.append(point)
        self._meter.report(0.0, point.values)

    def _truth(self, members: Indices) -> Tensor:
        material = self._material
        known = truth(members, material.labels[members], material.targets)
        return from_numpy(known).to(self._device)

    def _part(self, subset: Indices, held_out: bool = False) -> Base:
        return Base(self._material, self._meter, self._device, subset, held_out)


def _place_in_class(labels: Indices) -> Indices:
    """Count, for each example, the earlier ones of its class: [a, b, a, a] -> [0, 0, 1, 2]."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place
