"""Leaderboard tables: rows that may be compared, best first.

A table holds results on one suite, with the same episodes (by digest) and the same budget.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from metabench.learner import PRESETS, Metric
from metabench.results.schema import Result
from metabench.statistics import paired_tests
from metabench.statistics.intervals import EpisodeScores
from metabench.tables import flags
from metabench.tables.aggregate import (
    contended,
    inductive,
    machine,
    says_transductive,
    score_table,
)
from metabench.tables.reproduce_commands import commands
from metabench.tables.rows import Row, StoredResult, build_row, identity


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table; its field names are part of the contract of `leaderboard --json`."""

    suite: str
    episodes_digest: str
    metric: Metric
    rows: list[Row]
    budget: str
    transductive: bool = False  # answers to a query depend on the other queries
    dataset: str
    way: int
    shot: int
    query: int  # per class
    suite_episodes: int  # of the suite
    scored_episodes: int  # of these, the most that any row has
    detectable: float | None = None  # between neighbouring rows, with a power of 80 %
    alone: bool  # this suite and budget have no table with other episodes
    commands: list[str]  # these reproduce the results
    machines: list[str]  # times are those of the first of each device type


def build_tables(cells: Iterable[StoredResult]) -> list[Table]:
    """Return a table for every suite, budget and digest of episodes.

    Algorithms whose answers to a query depend on the other queries see extra information. They
    have a table of their own, after the others. The measured property decides; if it was not
    measured, the declared one. If two cells have the same identity and seed, the newer one counts.

    Args:
        cells: the results.
    """
    groups: dict[tuple[str, str, str], list[StoredResult]] = defaultdict(list)
    for cell in cells:
        suite = cell.result.suite
        groups[suite.name, cell.result.job.budget, suite.episodes_digest].append(cell)
    digests = Counter((suite, budget) for suite, budget, _ in groups)
    return [
        _table(part, digests[suite, budget] == 1, transductive)
        for suite, budget, digest in sorted(groups, key=lambda k: (k[0], _order(k[1]), k[2]))
        for transductive, part in _parts(groups[suite, budget, digest])
    ]


def _parts(cells: Sequence[StoredResult]) -> Iterator[tuple[bool, list[StoredResult]]]:
    """Yield the inductive cells, then the transductive ones; empty groups are left out."""
    rows: dict[tuple[object, ...], list[StoredResult]] = defaultdict(list)
    for cell in cells:
        rows[identity(cell.result)].append(cell)
    parts: dict[bool, list[StoredResult]] = {False: [], True: []}
    for row in rows.values():
        ok = [cell.result for cell in row if cell.result.status == "ok"]
        measured = inductive(ok)
        declared = says_transductive(row[0].result)
        # A row without a score has no measured property; it goes with the inductive ones.
        parts[bool(ok) and (declared if measured is None else not measured)] += row
    yield from ((transductive, part) for transductive, part in parts.items() if part)


def _table(cells: Sequence[StoredResult], alone: bool, transductive: bool) -> Table:
    seeds_of: dict[tuple[object, ...], dict[int, StoredResult]] = defaultdict(dict)
    for cell in sorted(cells, key=lambda cell: (cell.result.job.seed, cell.result.created)):
        seeds_of[identity(cell.result)][cell.result.job.seed] = cell
    groups = [list(seeds.values()) for seeds in seeds_of.values()]
    results = [cell.result for group in groups for cell in group]
    suite, budget = results[0].suite, results[0].job.budget
    machines = _machines(results)
    lower_is_better = suite.metric == "mse"
    built = [
        (build_row(group, machines.get(group[0].result.job.device)), _scores(group))
        for group in groups
    ]
    rows, detectable = _compare(_rank(built, lower_is_better), lower_is_better)
    rows = _flag(_pareto(rows, lower_is_better), suite.metric, suite.way)
    others = sorted({name for r in results if r.status == "ok" and (name := machine(r))})
    return Table(
        suite=suite.name,
        episodes_digest=suite.episodes_digest,
        metric=suite.metric,
        rows=rows,
        budget=budget,
        transductive=transductive,
        dataset=suite.dataset,
        way=suite.way,
        shot=suite.shot,
        query=suite.query,
        suite_episodes=suite.episodes,
        scored_episodes=max(row.episodes for row in rows),
        detectable=detectable,
        alone=alone,
        commands=commands(groups, suite.address or suite.name),
        machines=list(dict.fromkeys([*filter(None, machines.values()), *others])),
    )


Built = tuple[Row, EpisodeScores]  # a row and its scores [S, E]


def _scores(group: Sequence[StoredResult]) -> EpisodeScores:
    return score_table([cell.result for cell in group if cell.result.status == "ok"])


def _rank(rows: Iterable[Built], lower_is_better: bool) -> list[Built]:
    """Return the rows best first, then those without a rank; equal scores share a rank.

    A row with fewer episodes than the others has no rank: its episodes may be easier or harder.
    """
    sign = 1 if lower_is_better else -1
    built = list(rows)
    episodes = max(table.shape[1] for _, table in built)

    def ranked(row: Row) -> bool:
        return row.score is not None and row.episodes == episodes

    def order(built: Built) -> tuple[int, float, str, str, str]:
        row = built[0]
        group = {"interrupted": 3, "not_applicable": 4}.get(row.status, 2)
        if row.status == "ok":
            group = 0 if ranked(row) else 1
        return (group, sign * (row.score or 0.0), row.address, row.device, row.train_on or "")

    ordered = sorted(built, key=order)
    scores = [row.score for row, _ in ordered]
    return [
        (replace(row, rank=scores.index(row.score) + 1) if ranked(row) else row, table)
        for row, table in ordered
    ]


def _compare(ranked: Sequence[Built], lower_is_better: bool) -> tuple[list[Row], float | None]:
    """Return the rows with tiers and rank intervals, and the detectable difference."""
    scored = [(row, table) for row, table in ranked if row.rank is not None]
    rest = [row for row, _ in ranked if row.rank is None]
    if not scored:
        return rest, None
    tables = [table for _, table in scored]
    intervals = paired_tests.rank_intervals(tables, lower_is_better)
    rows = [
        replace(row, tier=tier, rank_interval=interval)
        for (row, _), tier, interval in zip(
            scored, paired_tests.tiers(tables), intervals, strict=True
        )
    ]
    return [*rows, *rest], paired_tests.detectable(tables)


def _pareto(rows: Sequence[Row], lower_is_better: bool) -> list[Row]:
    """Mark rows that no other row on the same device beats in both score and time per task.

    The time is that of adapting and predicting: a learner may leave the work to either.
    """
    sign = 1 if lower_is_better else -1
    timed = [row for row in rows if row.rank is not None and row.adapt_ms is not None]

    def cost(row: Row) -> tuple[float, float]:
        return sign * (row.score or 0.0), (row.adapt_ms or 0.0) + (row.predict_ms or 0.0)

    def beaten(row: Row) -> bool:
        mine = cost(row)
        # Each device type has its own machine.
        others = [cost(other) for other in timed if other.device == row.device]
        return any(s <= mine[0] and t <= mine[1] and (s, t) != mine for s, t in others)

    return [replace(row, pareto=not beaten(row)) if row in timed else row for row in rows]


def _flag(rows: Sequence[Row], metric: Metric, way: int) -> list[Row]:
    """Add the flags that depend on the whole table."""
    scored = max(row.episodes for row in rows)
    pixels = Counter(row.pixels_digest for row in rows if row.status == "ok").most_common(1)

    def more(row: Row) -> list[str]:
        if row.status != "ok":
            return []
        found = []
        if metric == "accuracy" and row.ci95 and flags.contains_chance(row.ci95, way):
            found.append(flags.CHANCE)
        if metric == "accuracy" and row.ci95 and row.ci95[1] < 1 / way - 1e-9:
            found.append(flags.BELOW)
        if row.episodes < scored:
            found.append(f"{row.episodes:,} of {scored:,} episodes")
        if row.pixels_digest != pixels[0][0] and flags.PIXELS not in row.flags:
            found.append(flags.PIXELS)
        return found

    return [replace(row, flags=[*row.flags, *more(row)]) for row in rows]


def _machines(results: Sequence[Result]) -> dict[str, str | None]:
    """Return for each device type the machine where most cells ran alone; its times are shown."""
    found: dict[str, str | None] = {}
    for device in sorted({result.job.device for result in results}):
        ok = [r for r in results if r.job.device == device and r.status == "ok"]
        alone = [r for r in ok if not contended(r)]
        names = sorted((machine(r) for r in alone or ok), key=lambda name: name or "")
        if names:
            found[device] = Counter(names).most_common(1)[0][0]
    return found


def _order(budget: str) -> tuple[int, str]:
    """Return a sort key: presets in their order, then explicit budgets."""
    return (PRESETS.index(budget) if budget in PRESETS else len(PRESETS), budget)
