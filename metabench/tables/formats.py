"""Leaderboards as Markdown, CSV, JSON or HTML: the same tables, four kinds of reader."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from tabulate import tabulate

from metabench.tables import document
from metabench.tables.markdown import markdown_code, markdown_text
from metabench.tables.ranked_tables import Table
from metabench.tables.rows import Row

if TYPE_CHECKING:
    import pandas as pd

JSON_SCHEMA = 1


def frame(tables: Sequence[Table]) -> pd.DataFrame:
    """Every row of every table as plain values, one line each.

    Scores are fractions or mean squared errors; `ci95` is split into `ci95_low` and
    `ci95_high`, `params` is JSON, lists are joined by "; ".
    """
    import pandas as pd

    records = [_record(table, row) for table in tables for row in table.rows]
    return pd.DataFrame.from_records(records, columns=_record_names()).astype(
        {name: "Int64" for name in ("rank", "tier", "parameters")}  # whole, or missing
    )


def markdown(tables: Sequence[Table], results: str = "") -> str:
    """A Markdown document (GitHub's dialect).

    Args:
        tables: what it shows.
        results: the results folder as seen from the document; then each row leads to its files.
    """
    parts = [f"# {document.TITLE}", document.INTRODUCTION]
    for table in tables:
        cells = [[markdown_text(cell) for cell in row] for row in document.cells(table)]
        for cell, row in zip(cells, table.rows, strict=True):
            cell[document.ALGORITHM] = _named(row, results)
        parts += [
            f"## {document.heading(table)}",
            document.facts(table),
            _tabulated(cells, table, "pipe"),
            "\n".join(["Made by", "", "```", *table.commands, "```"]),
            document.measured_on(table),
        ]
    notes = document.footnotes(tables)
    if notes:
        parts += ["## Flags", "\n".join(f"- {markdown_text(f)}: {note}" for f, note in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def html_page(tables: Sequence[Table]) -> str:
    """One self-contained page."""
    parts = [f"<h1>{document.TITLE}</h1>", _paragraph(document.INTRODUCTION)]
    for table in tables:
        commands = html.escape("\n".join(table.commands))
        parts += [
            f"<h2>{html.escape(document.heading(table))}</h2>",
            _paragraph(document.facts(table)),
            f"<div>{_tabulated(document.cells(table), table, 'html')}</div>",
            f"<p>Made by</p>\n<pre>{commands}</pre>",
            _paragraph(document.measured_on(table)),
        ]
    notes = document.footnotes(tables)
    if notes:
        items = "\n".join(f"<li>{html.escape(f'{flag}: {note}')}</li>" for flag, note in notes)
        parts += ["<h2>Flags</h2>", f"<ul>\n{items}\n</ul>"]
    return _PAGE.format(title=document.TITLE, body="\n".join(part for part in parts if part))


def _tabulated(cells: Sequence[Sequence[str]], table: Table, form: str) -> str:
    align = ["right" if numeric else "left" for numeric in document.numeric(table)]
    columns = document.columns(table)
    return tabulate(cells, columns, tablefmt=form, colalign=align, disable_numparse=True)


def csv(tables: Sequence[Table]) -> str:
    """The values of `frame`, unknown ones empty."""
    text: str = frame(tables).to_csv(index=False, lineterminator="\n")
    return text


def json(tables: Sequence[Table]) -> str:
    """The contract: scores as fractions or mean squared errors, unknown values null."""
    content = {"schema": JSON_SCHEMA, "suites": list(tables)}
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": markdown,
    "csv": csv,
    "json": json,
    "html": html_page,
}

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


def _named(row: Row, results: str) -> str:
    """An algorithm's name, linked to the folder that its files are in."""
    name = markdown_code(row.address)
    if not results or not row.files:
        return name
    return f"[{name}]({quote(f'{results}/{PurePosixPath(row.files[0]).parent}')})"


def _paragraph(text: str) -> str:
    code = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(text))
    return f"<p>{code}</p>" if text else ""


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; }}
div, pre {{ overflow-x: auto; }}
th, td {{ padding: 0.3em 0.8em; border-bottom: 1px solid #ccc; white-space: nowrap; }}
th {{ text-align: left; vertical-align: bottom; }}
td:last-child {{ white-space: normal; min-width: 20em; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
