"""The leaderboard as JSON, and the envelope of everything that metabench prints as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from metabench.text import printable_json

if TYPE_CHECKING:  # which imports scipy, and most users of this envelope do not
    from metabench.tables.ranked_tables import Table

SCHEMA = 1  # keys may be added; a renamed or removed key needs a new number


def json_text(**content: object) -> str:
    """Return an indented JSON object with the schema version first; NaN becomes null."""
    text = msgspec.json.encode({"schema": SCHEMA, **content})
    return printable_json(msgspec.json.format(text, indent=2).decode()) + "\n"


def render(tables: Sequence[Table], _results: str = "") -> str:
    """Return the tables; scores are fractions or mean squared errors, unknown values null."""
    return json_text(suites=list(tables))
