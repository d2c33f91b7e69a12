"""The leaderboard: the tables that a folder of results, or a list of them, amounts to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.tables.rows import StoredResult

if TYPE_CHECKING:
    import pandas as pd


def leaderboard(
    results: str | Path | Iterable[Result] = "results",
    *,
    suite: str | Sequence[str] = (),
    budget: str | None = None,
) -> pd.DataFrame:
    """The leaderboard as a data frame, best rows first within each table.

    Rows compare only where suite, budget, episodes_digest and transductive are equal.

    Args:
        results: a results folder, or results themselves.
        suite: names of suites, or patterns such as "omniglot-*"; default: all.
        budget: only this one; default: all.

    Returns:
        One line per algorithm, parameters and device; scores are fractions (accuracy) or mean
        squared errors; what is unknown is missing.

    Warns:
        UserWarning: for each file that is not a readable result.
    """
    from metabench.tables.formats import frame
    from metabench.tables.ranked_tables import build_tables

    if isinstance(results, (str, Path)):
        cells, problems = read(results)
        for problem in problems:
            warnings.warn(problem, stacklevel=2)
    else:
        cells = [StoredResult(None, result) for result in results]
    patterns = [suite] if isinstance(suite, str) else suite
    return frame(build_tables(select(cells, patterns, budget)))


def read(folder: str | Path) -> tuple[list[StoredResult], list[str]]:
    """The cells of a results folder, and a line about each file that is not readable."""
    found, problems = Store(folder).read()
    return [StoredResult(path, result) for path, result in found], problems


def select(
    cells: Iterable[StoredResult], suites: Sequence[str], budget: str | None
) -> list[StoredResult]:
    """The cells of suites that match any of the patterns (none: all), with the budget."""
    return [
        cell
        for cell in cells
        if (not suites or any(fnmatchcase(cell.result.suite.name, s) for s in suites))
        and (budget is None or cell.result.job.budget == budget)
    ]
