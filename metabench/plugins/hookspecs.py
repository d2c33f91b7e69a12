"""What a plugin may provide, and what it may watch.

A plugin is a module or a file with functions of these names, each marked with
`@metabench.hookimpl`; it defines those it needs. An implementation may leave out
arguments that it does not use.
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

    Catalogues are read often, so this hook should not import torch: name the learner as
    "module:attr" where it lives in a package of its own.

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
        Two-way episodes of the digits that every installation has::

            import metabench

            @metabench.hookimpl
            def metabench_suites():
                digits = "metabench.data.digits:load"
                yield metabench.Suite("digits-2w1s", dataset=digits, way=2, shot=1)
    """


@hookspec
def metabench_backbones() -> Iterable[Backbone]:  # type: ignore[empty-body]
    """Return or yield the backbones that algorithms may build on, by name.

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
    """Watch an attempt at a cell that has just ended, whatever its status.

    It is called for what `gate` and `replay` run too, and with `-j` from several threads. An
    exception raised here is reported as a warning and changes nothing else.

    Args:
        cell: what was asked for.
        result: what came out, and is stored; a failed attempt leaves the file as it is where that
            has a score by the same code.

    Example:
        Say what failed::

            import metabench

            @metabench.hookimpl
            def metabench_cell_finished(result):
                if result.failure is not None:
                    print(result.job.algorithm, result.failure.reason)
    """


@hookspec
def metabench_report(results: list[Result], out: Path) -> None:
    """Write something of one's own beside the leaderboard.

    An exception raised here is reported as a warning and changes nothing else.

    Args:
        results: every result that the leaderboard was made from.
        out: the folder to write to; it exists.

    Example:
        A file that counts the results::

            import metabench

            @metabench.hookimpl
            def metabench_report(results, out):
                (out / "count.txt").write_text(f"{len(results)}\\n")
    """
