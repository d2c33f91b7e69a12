"""Headings, sentences and cells of the leaderboard, the same in every format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from metabench.tables import flags, formatting
from metabench.tables.ranked_tables import Table
from metabench.tables.rows import Row
from metabench.text import one_line

TITLE = "Leaderboard"

INTRODUCTION = (
    "Each table shows results on one suite, with the same frozen test episodes and the same "
    "meta-training budget. Rows of different tables cannot be compared. A score is the mean over "
    "test episodes ± half of its 95 % confidence interval, which covers the uncertainty due to "
    "episodes and, with several seeds, also due to seeds. A tier holds the rows that paired tests "
    "cannot distinguish from its first row (5 %, Holm over all pairs). The range after a rank "
    "covers 95 % of bootstrap draws. Meta-training is the mean time per seed; adapt and predict "
    "are median times for one task at a time. A star marks rows that no other row on the same "
    "device beats in both score and time per task, adapt and predict together. A dash means "
    "unknown. `metabench leaderboard` makes this document from result files."
)

DIGITS_SHOWN = 12  # of a digest; the JSON has all of them

METRICS = {"accuracy": "accuracy", "mse": "mean squared error"}


_Shown = Callable[[str], str]  # makes a name that comes from outside safe to show


def heading(table: Table) -> str:
    """Return the suite and the budget, with the digest of the episodes if there are several."""
    name = f"{table.suite}, {table.budget}"
    if table.transductive:
        name += ", transductive"
    if not table.alone:
        name += f", episodes {table.episodes_digest[:DIGITS_SHOWN]}"
    return one_line(name)


def facts(table: Table, shown: _Shown = one_line) -> str:
    """Return what was measured, in a few sentences."""
    if table.metric == "accuracy":
        shape = f"{table.way}-way {table.shot}-shot, {table.query} queries per class"
    else:
        shape = f"{table.shot}-shot regression, {table.query} queries"
    episodes = f"{table.suite_episodes:,} episodes"
    if table.scored_episodes < table.suite_episodes:
        episodes = f"the first {table.scored_episodes:,} of {episodes}"
    text = (
        f"{shown(table.dataset)}: {shape}; {METRICS[table.metric]} over {episodes}; "
        f"budget {shown(table.budget)}; "
        f"episodes digest {shown(table.episodes_digest[:DIGITS_SHOWN])}."
    )
    if table.transductive:
        text += " Answers to a query depend on the other queries of its episode."
    if table.detectable is not None:
        difference = formatting.percent(table.detectable)
        if table.metric == "mse":
            difference = formatting.significant(table.detectable, 2)
        unit = " points" if table.metric == "accuracy" else ""
        text += (
            f" For two neighbouring rows, `compare` finds a difference of {difference}{unit} in "
            "four of five cases."
        )
    if not table.alone:
        text += " This suite also has results on other episodes, which cannot be compared."
    return text


ALGORITHM = 2  # the column that names the algorithm


def columns(table: Table) -> list[str]:
    """Return the names of the columns, which depend on the metric only."""
    scores = ["accuracy (%)", "macro-F1 (%)"] if table.metric == "accuracy" else ["MSE"]
    return [
        "tier",
        "rank",
        "algorithm",
        *scores,
        "meta-training",
        "adapt (ms)",
        "predict (ms)",
        "cold (ms)",
        "episodes/s",
        "peak (MiB)",
        "parameters",
        "seeds x episodes",
        "device",
        "commit",
        "flags",
    ]


TEXT_COLUMNS = frozenset({"algorithm", "device", "commit", "flags"})  # the others hold numbers


def cells(table: Table) -> list[list[str]]:
    """Return the cells of each row as text, in the order of `columns`."""
    return [[one_line(cell) for cell in _cells(row, table)] for row in table.rows]


def _cells(row: Row, table: Table) -> list[str]:
    has_score = row.status == "ok"
    classification = table.metric == "accuracy"
    show = formatting.accuracy if classification else formatting.error
    return [
        formatting.count(row.tier),
        _rank(row),
        row.address,
        show(row.score, row.ci95) if has_score else _without_score(row),
        *([formatting.percent(row.macro_f1)] if classification else []),
        formatting.duration(row.fit_s),
        formatting.significant(row.adapt_ms) + (" *" if row.pareto else ""),
        formatting.significant(row.predict_ms),
        formatting.significant(row.cold_ms),
        formatting.significant(row.episodes_per_s),
        formatting.significant(row.peak_mib),
        formatting.count(row.parameters),
        f"{row.seeds} x {row.episodes:,}" if has_score else formatting.UNKNOWN,
        row.device,
        row.commit or formatting.UNKNOWN,
        "; ".join([*row.flags, *([row.reason] if row.reason else [])]),
    ]


def _rank(row: Row) -> str:
    """Return the rank, with its interval if that is wider: 2 (1-3)."""
    text = formatting.count(row.rank)
    if row.rank_interval is None or row.rank_interval == (row.rank, row.rank):
        return text
    low, high = row.rank_interval
    return f"{text} ({low}-{high})"


def _without_score(row: Row) -> str:
    """Return the words shown in place of a score; the flags column has status and reason."""
    names = {"not_applicable": "not applicable", "interrupted": "interrupted"}
    return names.get(row.status, "failed")


def measured_on(table: Table, shown: _Shown = one_line) -> str:
    """Return a sentence with the machines of a table; "" if none is recorded."""
    return f"Measured on {'; '.join(map(shown, table.machines))}." if table.machines else ""


def footnotes(tables: Iterable[Table]) -> list[tuple[str, str]]:
    """Return the flags that occur with their notes; flags with the same note are joined."""
    occurring = sorted({flag for table in tables for row in table.rows for flag in row.flags})
    by_note: dict[str, list[str]] = defaultdict(list)
    for flag in occurring:
        by_note[flags.note(flag)].append(one_line(flag))
    return [(", ".join(same), note) for note, same in by_note.items()]
