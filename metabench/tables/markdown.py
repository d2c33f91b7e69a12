"""Pieces of Markdown: tables, code, and text whose special characters are escaped."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tabulate import tabulate

from metabench.tables.rows import Row
from metabench.text import one_line

_SPECIAL = re.compile(
    r"[|`\\]"  # the end of a cell, code, an escape
    r"|<(?=[A-Za-z/!?])|&(?=#?\w+;)"  # a tag, a character reference
    r"|\[(?=[^]]*]\()|^[#>]"  # a link, a heading, a quotation
    r"|\*(?=\S)|(?<=\S)\*|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis
)


class Markdown(str):
    """Text that is Markdown already, and must not be escaped again."""

    __slots__ = ()


def escaped(text: str) -> Markdown:
    """Return text that Markdown shows as it is and that stays within one table cell."""
    if isinstance(text, Markdown):
        return text
    return Markdown(_SPECIAL.sub(r"\\\g<0>", one_line(text)))


def code(text: str) -> Markdown:
    """Return text as code that stays within one table cell; only bars have to be escaped."""
    text = one_line(text)
    fence = _fence(text, 1)
    space = " " if "`" in text else ""
    without_bars = text.replace("|", r"\|")
    return Markdown(f"{fence}{space}{without_bars}{space}{fence}")


def code_block(lines: Sequence[str]) -> Markdown:
    """Return lines as a block of code, which no line of it ends."""
    text = "\n".join(map(one_line, lines))
    fence = _fence(text, 3)
    return Markdown(f"{fence}\n{text}\n{fence}")


def _fence(text: str, least: int) -> str:
    """Return more backticks than the text has in a row."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def name_of(row: Row) -> Markdown:
    """Return a row's algorithm, with its device and training data unless these are the default."""
    parts = [code(row.address)]
    parts += [escaped(row.device)] if row.device != "cpu" else []
    parts += [escaped(f"trained on {row.train_on}")] if row.train_on else []
    return Markdown(", ".join(parts))


def markdown_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    text_columns: Collection[str],
    *,
    padded: bool = True,
) -> str:
    """Return a table, its cells escaped.

    Args:
        columns: their names.
        rows: their cells.
        text_columns: the columns that are aligned to the left; the others hold numbers.
        padded: the source is aligned too. Long cells are easier to read without.
    """
    heads = [escaped(name) for name in columns]
    cells = [[escaped(cell) for cell in row] for row in rows]
    if padded:
        align = ["left" if name in text_columns else "right" for name in columns]
        text: str = tabulate(cells, heads, "pipe", colalign=align, disable_numparse=True)
        return text
    rule = "|".join(":--" if name in text_columns else "--:" for name in columns)
    lines = [f"| {' | '.join(line)} |" for line in (heads, *cells)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])
