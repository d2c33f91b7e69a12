"""Text of others inside Markdown tables: it stays what it is."""

from __future__ import annotations

import re

from metabench.tables.rows import Row

_READ_AS_MORE = re.compile(
    r"[|`\\]"  # a cell's end, code, an escape
    r"|<(?=[A-Za-z/!?])"  # a tag
    r"|\*(?=\S)|(?<=\S)\*|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis
)


def name_of(row: Row) -> str:
    """A row's algorithm, with its device and training data where they are not the usual ones."""
    told = [markdown_code(row.address)]
    told += [row.device] if row.device != "cpu" else []
    told += [f"trained on {markdown_text(row.train_on)}"] if row.train_on else []
    return ", ".join(told)


def markdown_text(text: str) -> str:
    """Text that stays one cell and is shown as it is."""
    return _READ_AS_MORE.sub(r"\\\g<0>", text)


def markdown_code(text: str) -> str:
    """Text as code that stays one cell: within backticks only a bar needs an escape."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    escaped = text.replace("|", "\\|")
    return f"{fence}{space}{escaped}{space}{fence}"
