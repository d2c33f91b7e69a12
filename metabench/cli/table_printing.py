"""Tables on stdout: ruled on a terminal, aligned plain text in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.cli.output import echo, stdout
from metabench.text import one_line

# The first column is broken only if it is longer: on a narrow terminal, names stay whole, but the
# paths of files leave room for the other columns.
_SHORT = 32


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a title to stdout."""
    if stdout().isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(one_line(title)), title_justify="left", title_style="bold")
        for i, column in enumerate(columns):
            short = max((len(row[i]) for row in rows), default=0) <= _SHORT
            table.add_column(column, overflow="fold", no_wrap=i == 0 and short)
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))  # brackets are no markup
        Console(file=stdout()).print(table)
    else:
        echo("\n".join([one_line(title), *plain(columns, rows)]))


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns, two spaces apart."""
    lines = [[one_line(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
