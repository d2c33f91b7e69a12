"""The leaderboard as a Markdown document (GitHub's dialect)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from metabench.tables import document
from metabench.tables.markdown import Markdown, code, code_block, escaped, markdown_table
from metabench.tables.ranked_tables import Table
from metabench.tables.rows import Row


def render(tables: Sequence[Table], results: str = "") -> str:
    """Return the document; with a path to the results folder, rows link to their files."""
    parts = [f"# {document.TITLE}", document.INTRODUCTION]
    for table in tables:
        cells = document.cells(table)
        for cell, row in zip(cells, table.rows, strict=True):
            cell[document.ALGORITHM] = _linked(row, results)
        parts += [
            f"## {escaped(document.heading(table))}",
            document.facts(table, escaped),
            markdown_table(document.columns(table), cells, document.TEXT_COLUMNS),
            f"Reproduce with:\n\n{code_block(table.commands)}",
            document.measured_on(table, escaped),
        ]
    notes = document.footnotes(tables)
    if notes:
        parts += ["## Flags", "\n".join(f"- {escaped(f)}: {note}" for f, note in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _linked(row: Row, results: str) -> Markdown:
    """Return an algorithm's name, linked to the folder of its result files."""
    name = code(row.address)
    if not results or not row.files:
        return name
    return Markdown(f"[{name}]({quote(f'{results}/{PurePosixPath(row.files[0]).parent}')})")
