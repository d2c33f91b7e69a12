"""The leaderboard in words and cells, before any format is chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from metabench.tables import flags, formatting
from metabench.tables.ranked_tables import Table
from metabench.tables.rows import Row

TITLE = "Leaderboard"

INTRODUCTION = (
    "Each table holds results on one suite, on the same frozen test episodes and with the same "
    "meta-training budget; rows compare within a table only. A score is the mean over test "
    "episodes, ± half its 95 % confidence interval, which covers other episodes and, where "
    "several seeds were run, other seeds. Rows of one tier are not told apart from its first row "
    "by paired tests (5 %, Holm over all pairs); beside a rank stand those of 95 % of bootstrap "
    "draws. "
    "Meta-training is the mean time per seed; adapt and predict are median times for one task at a "
    "time; a star marks rows that no other beats in both score and adaptation time. A dash is a "
    "value that is not known. Derived from result files by `metabench leaderboard`."
)

DIGITS_SHOWN = 12  # of a digest; `--json` has it in full

METRICS = {"accuracy": "accuracy", "mse": "mean squared error"}


def heading(table: Table) -> str:
    """The suite and the budget, and the episodes where those alone would be ambiguous."""
    name = f"{table.suite}, {table.budget}"
    if table.transductive:
        name += ", transductive"
    return name if table.alone else f"{name}, episodes {table.episodes_digest[:DIGITS_SHOWN]}"


def facts(table: Table) -> str:
    """What was measured, in one or two sentences."""
    if table.metric == "accuracy":
        shape = f"{table.way}-way {table.shot}-shot, {table.query} queries per class"
    else:
        shape = f"{table.shot}-shot regression, {table.query} queries"
    episodes = f"{table.suite_episodes:,} episodes"
    if table.scored_episodes < table.suite_episodes:
        episodes = f"the first {table.scored_episodes:,} of {episodes}"
    text = (
        f"{table.dataset}: {shape}; {METRICS[table.metric]} over {episodes}; "
        f"budget {table.budget}. Episodes {table.episodes_digest[:DIGITS_SHOWN]}."
    )
    if table.transductive:
        text += " The answer to a query depends on the other queries of its episode."
    if table.detectable is not None:
        shown = formatting.percent(table.detectable)
        if table.metric == "mse":
            shown = formatting.significant(table.detectable, 2)
        unit = " points" if table.metric == "accuracy" else ""
        text += (
            f" Between two neighbours `compare` finds differences of {shown}{unit} in four of "
            "five cases."
        )
    if not table.alone:
        text += " This suite has results on other episodes too, which do not compare with these."
    return text


ALGORITHM = 2  # the column that names the algorithm


def columns(table: Table) -> list[str]:
    """The names of the columns; the same ones in every table of a metric."""
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


_TEXT = ("algorithm", "device", "commit", "flags")


def numeric(table: Table) -> list[bool]:
    """Which of the `columns` hold numbers."""
    return [name not in _TEXT for name in columns(table)]


def cells(table: Table) -> list[list[str]]:
    """The rows as text, in the order of `columns`."""
    return [_cells(row, table) for row in table.rows]


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
    """With its interval, where it has one that is wider: 2 (1-3)."""
    text = formatting.count(row.rank)
    if row.rank_interval is None or row.rank_interval == (row.rank, row.rank):
        return text
    low, high = row.rank_interval
    return f"{text} ({low}-{high})"


def _without_score(row: Row) -> str:
    """Stands where the score would; the flags column gives the status and the reason."""
    names = {"not_applicable": "not applicable", "interrupted": "interrupted"}
    return names.get(row.status, "failed")


def measured_on(table: Table) -> str:
    """The machines behind a table, in one sentence; empty where none is recorded."""
    return f"Measured on {'; '.join(table.machines)}." if table.machines else ""


def footnotes(tables: Iterable[Table]) -> list[tuple[str, str]]:
    """The flags that occur and what they mean; flags of one meaning stand together."""
    occurring = sorted({flag for table in tables for row in table.rows for flag in row.flags})
    by_note: dict[str, list[str]] = defaultdict(list)
    for flag in occurring:
        by_note[flags.note(flag)].append(flag)
    return [(", ".join(same), note) for note, same in by_note.items()]
