"""Helpers of the tests of `metabench run`: a plugin, and the command in a given folder."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import NamedTuple

import pytest

from metabench.cli import main
from metabench.results.schema import Result
from metabench.results.store import Store

# One learner of each sort, quick on digits.
PLUGIN = '''
import time

import torch

import metabench


class NearestCentroid(metabench.Learner):
    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -torch.cdist(query_x.flatten(1), centroids)


class Projected(NearestCentroid):
    """Nearest centroid after a random map, which a few updates train."""

    def __init__(self, task, *, dimension=8):
        super().__init__(task)
        pixels = torch.Size(task.input_shape).numel()
        self.map = torch.nn.Linear(pixels, dimension, bias=False)
        self.optimizer = torch.optim.SGD(self.map.parameters(), lr=0.1)

    def meta_step(self, episodes):
        losses = [
            torch.nn.functional.cross_entropy(self.predict(self.adapt(support), query.x), query.y)
            for support, query in episodes
        ]
        loss = torch.stack(losses).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def adapt(self, support):
        x = self.map(support.x.flatten(1))
        return metabench.class_means(metabench.Support(x, support.y))

    def predict(self, centroids, query_x):
        return -metabench.squared_distances(self.map(query_x.flatten(1)), centroids)


class Raises(NearestCentroid):
    def adapt(self, support):
        print("about to fail")
        raise ZeroDivisionError("no centroid today")


@metabench.hookimpl
def metabench_algorithms():
    return [
        metabench.Algorithm("centroid", build=NearestCentroid),
        metabench.Algorithm(
            "projected", build=Projected, params={"dimension": 8}, budgets={"smoke": 5}
        ),
        metabench.Algorithm("raises", build=Raises),
        metabench.Algorithm("curves-only", build=NearestCentroid, tasks={"regression"}),
    ]
'''


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def run_in(folder: Path, *args: object) -> Outcome:
    """Run `metabench ARGS` in a folder, with only the built-in plugin installed.

    Tests that share an outcome use this, and others the `cli` fixture.
    """
    out, err = io.StringIO(), io.StringIO()
    log = logging.getLogger("metabench")
    before = log.handlers, log.propagate, log.level
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.setenv("METABENCH_PLUGINS", "builtin")
        code = main([str(arg) for arg in args])
    log.handlers, log.propagate, log.level = before
    return Outcome(code, out.getvalue(), err.getvalue())


def results(folder: Path) -> dict[str, Result]:
    """Every readable result below a results folder by its path."""
    return {path.as_posix(): result for path, result in Store(folder).read()[0]}


def digests(folder: Path) -> dict[str, str]:
    """The digest of the outputs of every result that has scores."""
    return {
        path: result.scores.outputs_digest
        for path, result in results(folder).items()
        if result.scores is not None
    }
