"""The hooks of plugins.

A plugin is a module or a file with functions of these names, each marked with
`@metabench.hookimpl`. It defines the hooks that it needs, and may leave out arguments that it does
not use.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from metabench.cell.cell import Cell
    from metabench.learner import Algorithm, Backbone
    from metabench.results.schema import Result
    from metabench.suites.suite import Suite

PROJECT = "metabench"  # pluggy's project name, and the group of entry points

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def metabench_algorithms() -> Iterable[Algorithm]:  # type: ignore[empty-body]
    """Return or yield the algorithms that this plugin provides.

    Most commands read the catalogue, so this hook should not import torch. A plugin that is a
    package can name its learner as "module:attr".

    Example:
        A whole plugin::

            import torch, metabench

            class NearestCentroid(metabench.Learner):
                def adapt(self, support):
                    return metabench.class_means(support)
                def predict(self, centroids, query_x):
                    return -torch.cdist(query_x.flatten(1), centroids)

            @metabench.hookimpl
            def metabench_algorithms():
                yield metabench.Algorithm("nearest-centroid", build=NearestCentroid)
    """


@hookspec
def metabench_suites() -> Iterable[Suite]:  # type: ignore[empty-body]
    """Return or yield the suites that this plugin provides.

    Example:
        Two-way episodes of the digits that come with scikit-learn::

            import metabench

            @metabench.hookimpl
            def metabench_suites():
                digits = "metabench.data.digits:load"
                yield metabench.Suite("digits-2w1s", dataset=digits, way=2, shot=1)
    """


@hookspec
def metabench_backbones() -> Iterable[Backbone]:  # type: ignore[empty-body]
    """Return or yield the backbones that algorithms can use by name.

    Example:
        A backbone that `protonet[backbone=linear[width=32]]` builds::

            import math, metabench
            from torch import nn

            def linear(input_shape, width):
                return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), width))

            @metabench.hookimpl
            def metabench_backbones():
                yield metabench.Backbone("linear", build=linear, params={"width": 64})
    """


@hookspec
def metabench_cell_finished(cell: Cell, result: Result) -> None:
    """Observe a cell that has just ended, with any status.

    `gate` and `replay` call this hook too. With `-j`, several threads call it. An exception raised
    here is reported as a warning and has no other effect.

    Args:
        cell: the cell that ran.
        result: its result. It is stored, unless it is a failure and the file has a score from the
            same code.

    Example:
        Print the reasons of failures::

            import metabench

            @metabench.hookimpl
            def metabench_cell_finished(result):
                if result.failure is not None:
                    print(result.job.algorithm, result.failure.reason)
    """


@hookspec
def metabench_report(results: list[Result], out: Path) -> None:
    r"""Write files to the folder of the leaderboard.

    An exception raised here is reported as a warning and has no other effect.

    Args:
        results: the results that the leaderboard is made from.
        out: the existing folder to write to.

    Example:
        A file with the number of results::

            import metabench

            @metabench.hookimpl
            def metabench_report(results, out):
                (out / "count.txt").write_text(f"{len(results)}\n")
    """
