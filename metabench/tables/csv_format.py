"""The leaderboard as CSV."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.tables.leaderboard_frame import frame
from metabench.tables.ranked_tables import Table
from metabench.text import one_line


def render(tables: Sequence[Table], _results: str = "") -> str:
    """Return the values of `frame`; unknown values are empty."""
    text: str = frame(tables).map(_cell).to_csv(index=False, lineterminator="\n")
    return text


def _cell(value: object) -> object:
    """Return a value that a spreadsheet shows as it is; it would compute "=1+1"."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
