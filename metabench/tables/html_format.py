"""The leaderboard as one self-contained HTML page."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from tabulate import tabulate

from metabench.tables import document
from metabench.tables.ranked_tables import Table
from metabench.text import one_line


def render(tables: Sequence[Table], _results: str = "") -> str:
    """Return the page."""
    parts = [f"<h1>{document.TITLE}</h1>", _paragraph(document.INTRODUCTION)]
    for table in tables:
        commands = html.escape("\n".join(map(one_line, table.commands)))
        parts += [
            f"<h2>{html.escape(document.heading(table))}</h2>",
            _paragraph(document.facts(table)),
            f"<div>{_table(table)}</div>",
            f"<p>Reproduce with:</p>\n<pre>{commands}</pre>",
            _paragraph(document.measured_on(table)),
        ]
    notes = document.footnotes(tables)
    if notes:
        items = "\n".join(f"<li>{html.escape(f'{flag}: {note}')}</li>" for flag, note in notes)
        parts += ["<h2>Flags</h2>", f"<ul>\n{items}\n</ul>"]
    return _PAGE.format(title=document.TITLE, body="\n".join(part for part in parts if part))


def _table(table: Table) -> str:
    columns = document.columns(table)
    align = ["left" if name in document.TEXT_COLUMNS else "right" for name in columns]
    cells = document.cells(table)
    text: str = tabulate(cells, columns, "html", colalign=align, disable_numparse=True)
    return text


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
