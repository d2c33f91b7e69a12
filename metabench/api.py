"""metabench from Python: `metabench.run`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.results.schema import Result
from metabench.suites.suite import Suite
from metabench.supervisor.plan import Policy
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def run(
    suites: Sequence[str | Suite] | str | Suite = Request.suites,
    algorithms: Sequence[str] | str = (),
    *,
    seeds: int = 1,
    budget: str = "smoke",
    device: str | torch.device = "cpu",
    train_on: str = "",
    results: str | Path = "",
    plugins: Sequence[str | Path] | str | Path = (),
    jobs: int = 1,
    time_limit: float = 0.0,
    data_root: str | Path = "",
    force: bool = False,
    retry_failed: bool = False,
) -> list[Result]:
    """Run every algorithm on every suite and store the results; keep finished cells.

    Args:
        suites: suites, or names, globs, `folder:PATH`, `manifest:FILE`; default: the embedded
            suites.
        algorithms: addresses such as "protonet[lr=0.01]"; default: all.
        seeds: how many seeds, from 0.
        budget: smoke, standard, paper, tasks=N or seconds=S.
        device: cpu, cuda, ... or auto.
        train_on: meta-train on this suite's base data instead of the suite's own.
        results: the folder; default: results, or results-smoke for the smoke budget.
        plugins: modules or files of plugins, as after `-p`.
        jobs: cells side by side.
        time_limit: seconds for each cell; 0: none.
        data_root: where datasets are kept.
        force: run finished cells again.
        retry_failed: run failed cells again.

    Returns:
        The results of all cells of the request, including those stored before.

    Raises:
        UsageError: a name, parameter or number is wrong.
        DataError: data is missing or too small, or results cannot be written.
    """
    request = Request(
        suites=_listed(suites),
        algorithms=_listed(algorithms),
        seeds=seeds,
        budget=budget,
        device=str(device),
        train_on=train_on,
        results=_text(results),
        plugins=_listed(plugins),
        jobs=jobs,
        time_limit=time_limit,
        data_root=_text(data_root),
    )
    with PreparedRun(request, Policy(force=force, retry_failed=retry_failed)) as prepared:
        for line in prepared.plugins.warnings:
            log.warning(line)
        prepared.run()
        found = (prepared.store.load(cell.path) for cell in prepared.cells)
        return [result for result in found if result is not None]


def _listed(given: Any) -> Any:
    """Return one text, path or suite as a list, and paths in a list as texts."""
    if isinstance(given, str | Path | Suite):
        given = [given]
    return [_text(one) for one in given] if isinstance(given, list | tuple) else given


def _text(given: Any) -> Any:
    """Return a path as text; anything else as it is, for `Request` to check."""
    return str(given) if isinstance(given, Path) else given
