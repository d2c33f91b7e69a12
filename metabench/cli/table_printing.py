"""Tables on stdout: ruled on a terminal, aligned plain text in a pipe."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metabench.cli.output import echo, stdout
from metabench.text import one_line

if TYPE_CHECKING:
    from metabench.tables.ranked_tables import Table

# Longer words, such as paths, may be broken so that other columns have room.
_SHORT = 32
_MIN_COLUMNS = 4  # of a leaderboard, to the score
_RULES = 3  # characters between two columns


def show(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    fewest: int = 3,
    whole: bool = False,
) -> None:
    """Print a table with a title to stdout.

    Args:
        title: a line above it.
        columns: the most important ones first, because the last are left out on a terminal that is
            too narrow for all words.
        rows: one text for each column.
        fewest: how many columns are never left out.
        whole: no text is broken, not even between words.
    """
    if not stdout().isatty():
        echo("\n".join([one_line(title), *plain(columns, rows)]))
        return
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    keep = [i for i in range(len(columns)) if i < fewest or any(row[i] for row in rows)]
    lines = [[one_line(line[i]) for i in keep] for line in (columns, *rows)]
    widths = _widths(lines, shutil.get_terminal_size().columns, fewest, whole)
    table = RichTable(title=Text(one_line(title)), title_justify="left", title_style="bold")
    for name, width in zip(lines[0], widths, strict=False):
        table.add_column(name, overflow="fold", min_width=width, max_width=width)
    for row in lines[1:]:
        table.add_row(*map(Text, row[: len(widths)]))  # brackets are no markup
    Console(file=stdout()).print(table)
    if left_out := lines[0][len(widths) :]:
        echo(f"columns that do not fit: {', '.join(left_out)}; a pipe (`| cat`) shows them")


def _widths(lines: Sequence[Sequence[str]], room: int, fewest: int, whole: bool) -> list[int]:
    """Return the widths of those first columns that fit side by side."""
    from rich.cells import cell_len

    cells = list(zip(*lines, strict=True))
    most = [max(map(cell_len, column)) for column in cells]
    words = [max(cell_len(word) for cell in column for word in cell.split(" ")) for column in cells]
    widths = most.copy() if whole else [min(word, _SHORT) for word in words]
    room -= 1
    while len(widths) > fewest and sum(widths) + _RULES * len(widths) > room:
        widths.pop()
    for _ in range(room - sum(widths) - _RULES * len(widths)):
        wanting = max(range(len(widths)), key=lambda i: most[i] - widths[i])
        widths[wanting] += most[wanting] > widths[wanting]
    return widths


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns, two spaces apart."""
    lines = [[one_line(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def show_leaderboard(tables: Sequence[Table]) -> None:
    """Print tables: ruled on a terminal, a Markdown document in a pipe."""
    from metabench.tables import document
    from metabench.tables.formats import render

    if not stdout().isatty():
        echo(render("md", tables), nl=False)
        return
    for table in tables:
        columns, rows = document.columns(table), document.cells(table)
        names, values = _narrow(columns, rows)
        show(document.heading(table), names, values, fewest=_MIN_COLUMNS, whole=True)
        for row in rows:
            if row[-1]:
                echo(f"{row[document.ALGORITHM]}: {row[-1]}")
        for line in (document.facts(table), document.measured_on(table), ""):
            echo(line)
    for flag, note in document.footnotes(tables):
        echo(f"{flag}: {note}")


def _narrow(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Leave out columns without information, and flags, which are printed below the table."""

    def informative(i: int) -> bool:
        values = {row[i] for row in rows}
        return len(values) > 1 if columns[i] in ("device", "commit") else values != {"-"}

    keep = [i for i, name in enumerate(columns) if name != "flags" and informative(i)]
    return [columns[i] for i in keep], [[row[i] for i in keep] for row in rows]
