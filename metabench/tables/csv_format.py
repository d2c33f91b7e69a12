"""The leaderboard as CSV."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.tables.leaderboard_frame import frame
from metabench.tables.ranked_tables import Table


def render(tables: Sequence[Table], _results: str = "") -> str:
    """Return the values of `frame`; unknown values are empty."""
    text: str = frame(tables).to_csv(index=False, lineterminator="\n")
    return text
