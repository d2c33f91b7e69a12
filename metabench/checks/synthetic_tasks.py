"""Small synthetic tasks that any learner should solve: 12x12 images, or lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from metabench.data.dataset import Dataset
from metabench.learner import Kind, Support
from metabench.suites.open_suite import OpenSuite
from metabench.suites.suite import Suite
from metabench.worker.answering import to_float

SIZE = 12
_COARSE = 4  # prototypes are drawn at this size, then enlarged, so that neighbours agree
_IMAGES = 20  # of each class
_CLASSES = {"base": 40, "validation": 25, "novel": 40}
_NOISE = 0.1
_SEED = 12


@dataclass(frozen=True)
class Tasks:
    """A batch of T tasks with the true answers to their queries."""

    support: Support  # x [T, S, *shape] float32, y [T, S] int64 or [T, S, 1] float32
    query: Support  # likewise; learners get only its x

    def __len__(self) -> int:
        return len(self.support.x)

    def one(self, t: int) -> Tasks:
        """Return a single task, with its leading dimension."""
        return self.some(slice(t, t + 1))

    def some(self, part: slice | Tensor) -> Tasks:
        """Return some of the tasks."""
        return Tasks(*(Support(x[part], y[part]) for x, y in (self.support, self.query)))


@cache
def images() -> Dataset:
    """Make a dataset of well-separated classes, each a coarse random pattern with noise.

    Later classes are brighter, so that a learner can exploit labels in the order of classes.
    """
    rng = np.random.default_rng(_SEED)
    classes = sum(_CLASSES.values())
    coarse = rng.random((classes, 1, 1, _COARSE, _COARSE))
    place = np.concatenate([np.linspace(0, 1, count) for count in _CLASSES.values()])
    coarse = 0.5 * coarse + 0.5 * place[:, None, None, None, None]
    patterns = coarse.repeat(SIZE // _COARSE, axis=3).repeat(SIZE // _COARSE, axis=4)
    noisy = patterns + _NOISE * rng.standard_normal((classes, _IMAGES, 1, SIZE, SIZE))
    pixels = np.rint(255 * noisy.clip(0, 1)).astype(np.uint8).reshape(-1, 1, SIZE, SIZE)
    ends = np.cumsum(list(_CLASSES.values()))[:-1]
    return Dataset(
        name="synthetic",
        images=pixels,
        labels=np.arange(classes).repeat(_IMAGES),
        classes=tuple(f"class {c}" for c in range(classes)),
        splits=dict(zip(_CLASSES, np.split(np.arange(classes), ends), strict=True)),
    )


@cache
def lines() -> Dataset:
    """Make a dataset of straight lines over [-1, 1], around the line y = 1."""
    rng = np.random.default_rng(_SEED)
    counts = {"base": 400, "validation": 50, "novel": 200}
    lines, points = sum(counts.values()), 40
    slope, offset = rng.uniform(-1, 1, (2, lines, 1))
    x = rng.uniform(-1, 1, (lines, points))
    ends = np.cumsum(list(counts.values()))[:-1]
    return Dataset(
        name="lines",
        images=x.astype(np.float32).reshape(-1, 1),
        labels=np.arange(lines).repeat(points),
        classes=tuple(f"line {c}" for c in range(lines)),
        splits=dict(zip(counts, np.split(np.arange(lines), ends), strict=True)),
        targets=(slope * x + 1 + offset).astype(np.float32).reshape(-1, 1),
    )


def suite(kind: Kind, way: int = 5, shot: int = 1, query: int = 5) -> OpenSuite:
    """Open a suite over them; an episode of lines has 10 support points and 20 queries."""
    if kind == "regression":
        return Suite("lines", lines(), 1, 10, 20, 100, metric="mse").open()
    return Suite("synthetic", images(), way, shot, query, episodes=100).open()


def draw(kind: Kind, count: int, way: int = 5, shot: int = 1, query: int = 5) -> Tasks:
    """Return the first test tasks of such a suite, labels and queries in random order."""
    opened, part = suite(kind, way, shot, query), slice(0, count)
    manifest, pixels = opened.episodes, opened.dataset.images

    def side(members: np.ndarray, truth: np.ndarray) -> Support:
        x = to_float(pixels[members[part]], "cpu")
        return Support(x, torch.from_numpy(np.ascontiguousarray(truth)))

    return Tasks(
        side(manifest.support, opened.support_truth(part)),
        side(manifest.query, opened.query_truth(part)),
    )


def draw_in_order(count: int) -> Tasks:
    """Return the tasks of `draw` with labels in class order, and queries in label order."""
    tasks, classes = draw("classification", count), suite("classification").episodes.classes
    rank = torch.from_numpy(classes[:count].argsort(axis=1).argsort(axis=1))  # of each label

    def turn(side: Support) -> Support:
        return by_label(side.x, rank.gather(1, side.y))

    return Tasks(turn(tasks.support), turn(tasks.query))


def by_label(x: Tensor, y: Tensor) -> Support:
    """Sort examples [T, S, *shape] by label, as learners get support sets."""
    order = y.argsort(dim=1, stable=True)
    rows = torch.arange(len(y))[:, None]
    return Support(x[rows, order], y[rows, order])


def accuracy(logits: Tensor, tasks: Tasks) -> Tensor:
    """Return the accuracy of each task: [T]."""
    return (logits.argmax(dim=-1) == tasks.query.y).double().mean(dim=1)


def squared_error(values: Tensor, tasks: Tasks) -> Tensor:
    """Return the mean squared error of each task: [T]."""
    return (values - tasks.query.y).double().square().mean(dim=(1, 2))
