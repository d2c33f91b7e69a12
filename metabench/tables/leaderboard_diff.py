"""Changes between two sets of results, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metabench.learner import Metric
from metabench.tables import formatting
from metabench.tables.markdown import markdown_table, name_of
from metabench.tables.ranked_tables import Table
from metabench.tables.rows import Row

_COLUMNS = ("suite", "budget", "algorithm", "before", "now", "difference")

Key = tuple[str, str, str, str, str, str]  # suite, budget, episodes, address, device, train_on


class Change(NamedTuple):
    """A row that is in one set only, or that differs between the two; None means no such row."""

    suite: str
    budget: str
    metric: Metric
    row: Row  # the new one if it exists, otherwise the old one
    old: Row | None
    new: Row | None


def changed_rows(old: Sequence[Table], new: Sequence[Table]) -> list[Change]:
    """Return rows in one set only, or with another score, interval, status, tier or size.

    Times always differ a little, so they are not compared.
    """
    before, after = _rows(old), _rows(new)
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        one, other = before.get(key), after.get(key)
        if _shown(one) != _shown(other):
            table, row = after[key] if key in after else before[key]
            found.append(
                Change(
                    table.suite,
                    table.budget,
                    table.metric,
                    row,
                    None if one is None else one[1],
                    None if other is None else other[1],
                )
            )
    return found


def diff_document(found: Sequence[Change], old_name: str) -> str:
    """Return one table, or a sentence if nothing changed."""
    if not found:
        return f"No score differs from {old_name}.\n"
    cells = [
        (
            change.suite,
            change.budget,
            name_of(change.row),
            _score(change.old, change.metric),
            _score(change.new, change.metric),
            _moved(change),
        )
        for change in found
    ]
    table = markdown_table(_COLUMNS, cells, {"suite", "budget", "algorithm"}, padded=False)
    return f"Rows that differ from {old_name}: {len(found)}.\n\n{table}\n"


def _rows(tables: Sequence[Table]) -> dict[Key, tuple[Table, Row]]:
    return {
        (t.suite, t.budget, t.episodes_digest, row.address, row.device, row.train_on or ""): (
            t,
            row,
        )
        for t in tables
        for row in t.rows
    }


def _shown(entry: tuple[Table, Row] | None) -> object:
    if entry is None:
        return None
    row = entry[1]
    return (row.status, row.score, row.ci95, row.seeds, row.episodes, row.tier)


def _score(row: Row | None, metric: Metric) -> str:
    if row is None:
        return "no row"
    if row.status != "ok":
        return row.status.replace("_", " ")
    show = formatting.accuracy if metric == "accuracy" else formatting.error
    return f"{show(row.score, row.ci95)} (tier {formatting.count(row.tier)}, seeds {row.seeds})"


def _moved(change: Change) -> str:
    old, new = change.old, change.new
    if old is None or new is None or old.score is None or new.score is None:
        return formatting.UNKNOWN
    return formatting.difference(new.score - old.score, change.metric)
