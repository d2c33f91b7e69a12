"""The leaderboard as a data frame, from a results folder or from results in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from metabench.plugins.staleness import code_states
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.suites.from_address import name_of
from metabench.tables.rows import Row, StoredResult
from metabench.text import one_line

if TYPE_CHECKING:
    import pandas as pd

    from metabench.plugins.registry import Plugins
    from metabench.tables.ranked_tables import Table


def leaderboard(
    results: str | Path | Iterable[Result] = "results",
    *,
    suite: str | Sequence[str] = (),
    budget: str | None = None,
) -> pd.DataFrame:
    """Return the leaderboard as a data frame, best rows first within each table.

    Two rows can be compared only if suite, budget, episodes_digest and transductive are equal.

    Args:
        results: a results folder, or results in memory.
        suite: names or addresses of suites, or patterns such as "omniglot-*"; default: all.
        budget: only results with this budget; default: all.

    Returns:
        One line for each algorithm with its parameters, device and training data. Scores are
        fractions (accuracy) or mean squared errors; unknown values are missing.

    Warns:
        UserWarning: for each file that cannot be read as a result.
    """
    from metabench.tables.ranked_tables import build_tables

    if isinstance(results, (str, Path)):
        cells, problems = read(results)
        for problem in problems:
            warnings.warn(one_line(problem), stacklevel=2)
    else:
        cells = [StoredResult(None, result) for result in results]
    patterns = [suite] if isinstance(suite, str) else suite
    return frame(build_tables(select(cells, patterns, budget)))


def frame(tables: Sequence[Table]) -> pd.DataFrame:
    """Return every row of every table as one line of plain values.

    Scores are fractions or mean squared errors. `ci95` is split into `ci95_low` and `ci95_high`,
    `params` is JSON, and lists are joined by "; ".
    """
    import pandas as pd

    records = [_record(table, row) for table in tables for row in table.rows]
    return pd.DataFrame.from_records(records, columns=_record_names()).astype(
        {name: "Int64" for name in ("rank", "tier", "parameters")}  # whole, or missing
    )


def read(folder: str | Path) -> tuple[list[StoredResult], list[str]]:
    """Return the results of a folder, and a line about each file that cannot be read."""
    found, problems = Store(folder).read()
    return [StoredResult(path, result) for path, result in found], problems


def with_code_state(cells: Sequence[StoredResult], plugins: Plugins) -> list[StoredResult]:
    """Return the results with the state of their code, given the plugins that are loaded."""
    states = code_states(plugins, (cell.result for cell in cells))
    return [cell._replace(code=state) for cell, state in zip(cells, states, strict=True)]


def select(
    cells: Iterable[StoredResult],
    suites: Sequence[str],
    budget: str | None,
    data_root: str | None = None,
) -> list[StoredResult]:
    """Return the results with this budget on some suites.

    Args:
        cells: results.
        suites: names, patterns or addresses; none: all suites.
        budget: None: every budget.
        data_root: where the data of addresses is kept.

    Raises:
        UsageError: an address is wrong.
        DataError: the data of an address cannot be read.
    """
    names = [name_of(text, data_root) for text in suites]
    return [
        cell
        for cell in cells
        if (not names or any(fnmatchcase(cell.result.suite.name, name) for name in names))
        and (budget is None or cell.result.job.budget == budget)
    ]


_OF_TABLE = (
    "suite",
    "dataset",
    "way",
    "shot",
    "query",
    "metric",
    "transductive",
    "episodes_digest",
)


def _record(table: Table, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(table, name) for name in _OF_TABLE}
    values |= msgspec.structs.asdict(row)
    low, high = row.ci95 or (None, None)
    return values | {
        "ci95_low": low,
        "ci95_high": high,
        "params": msgspec.json.encode(row.params).decode(),
        "rank_interval": "-".join(map(str, row.rank_interval or ())),
        "flags": "; ".join(row.flags),
        "files": "; ".join(row.files),
    }


def _record_names() -> list[str]:
    names = [*_OF_TABLE, *(field.name for field in msgspec.structs.fields(Row))]
    at = names.index("ci95")
    names[at : at + 1] = ["ci95_low", "ci95_high"]
    names.remove("training")
    return names
