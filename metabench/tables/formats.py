"""The formats a leaderboard can be written in: one file and one line of `FORMATS` each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.tables.ranked_tables import Table

# Name, which is also the suffix of files, and "module:attr" of a function
# `render(tables, results) -> str`. It is imported only when the format is asked for.
FORMATS: Mapping[str, str] = {
    "md": "metabench.tables.markdown_format:render",
    "csv": "metabench.tables.csv_format:render",
    "json": "metabench.tables.json_format:render",
    "html": "metabench.tables.html_format:render",
}


def render(name: str, tables: Sequence[Table], results: str = "") -> str:
    """Return the tables in one of the `FORMATS`.

    Args:
        name: the format.
        tables: what to show.
        results: the path from the document to the results folder, for formats with links; "" for
            no links.
    """
    from metabench.learner import load

    renderer: Callable[[Sequence[Table], str], str] = load(FORMATS[name])
    return renderer(tables, results)
