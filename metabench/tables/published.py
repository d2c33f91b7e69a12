"""Comparison of our rows with published numbers, with the differences in protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from metabench import address
from metabench.learner import Metric
from metabench.tables import formatting
from metabench.tables.markdown import code, markdown_table
from metabench.tables.ranked_tables import Table
from metabench.tables.rows import Row

FILE = Path(__file__).with_name("published.json")

_SPLITS = {
    "omniglot": "Vinyals, 4 rotations",
}

_COLUMNS = (
    "published",
    "score",
    "our row",
    "budget",
    "our score",
    "difference",
    "their protocol",
)
_TEXT_COLUMNS = frozenset({"published", "our row", "budget", "their protocol"})


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A number from a paper."""

    method: str  # its name in the paper
    algorithm: str | None  # the name of the same algorithm in metabench, if there is one
    params: dict[str, bool | int | float | str]  # parameters that a row of this algorithm must have
    suite: str  # the suite in metabench with the same task
    score: float  # accuracy as a fraction, or mean squared error
    half_ci95: float | None  # half the width of the 95 % interval in the paper
    verified: bool  # whether the number was read in `source`; if not, it is from memory
    source: str  # the paper and the table
    protocol: dict[str, int | str]  # how the number was measured, as far as the paper says


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A published number with one of our rows, if any; field names are those of the JSON."""

    published: Published
    metric: Metric
    address: str | None = None
    budget: str | None = None
    score: float | None = None
    ci95: tuple[float, float] | None = None
    seeds: int | None = None
    difference: float | None = None  # ours - published
    protocol_differences: list[str] = []


def load_published() -> list[Published]:
    """Return the published numbers that are shipped with metabench."""
    return msgspec.json.decode(FILE.read_bytes(), type=list[Published])


def pair_with_rows(tables: Iterable[Table], published: Sequence[Published]) -> list[Pair]:
    """Return every number on the suites of the tables, with each of our rows that matches."""
    tables = list(tables)
    pairs: list[Pair] = []
    for number in published:
        of_suite = [table for table in tables if table.suite == number.suite]
        found = [_pair(number, t, row) for t in of_suite for row in t.rows if _same(number, row)]
        if of_suite:
            pairs += found or [Pair(published=number, metric=of_suite[0].metric)]
    return sorted(pairs, key=lambda pair: pair.published.suite)


def _same(number: Published, row: Row) -> bool:
    params = dict(row.params)
    if row.training is not None:
        params["train_shot"] = row.training.shot
    return (
        row.score is not None
        and row.algorithm == number.algorithm
        and all(params.get(name) == value for name, value in number.params.items())
    )


def _pair(number: Published, table: Table, row: Row) -> Pair:
    assert row.score is not None
    ours = protocol(table, row)
    differences = [
        f"{what}: {theirs}, ours {ours[what]}"
        for what, theirs in number.protocol.items()
        if str(ours.get(what, theirs)) != str(theirs)
    ]
    if row.train_on is not None and "trained on" not in number.protocol:
        differences.append(f"trained on: ours {row.train_on}")
    unknown = [f"{what}: {number.protocol[what]}" for what in number.protocol if what not in ours]
    return Pair(
        published=number,
        metric=table.metric,
        address=row.address,
        budget=row.budget,
        score=row.score,
        ci95=row.ci95,
        seeds=row.seeds,
        difference=row.score - number.score,
        protocol_differences=[*differences, *unknown],
    )


def protocol(table: Table, row: Row) -> Mapping[str, int | str]:
    """Return how one of our rows was measured, with the keys of `Published.protocol`."""
    found: dict[str, int | str] = {"queries": table.query, "episodes": row.episodes}
    if table.dataset in _SPLITS:
        found["split"] = _SPLITS[table.dataset]
    found |= _network(row)
    found |= _inner_loop(row)
    if row.fit_s is not None or row.updates is not None:
        found["trained on"] = "base" if row.train_on is None else row.train_on
    if row.training is not None:
        found |= {
            "train way": row.training.way,
            "train shot": row.training.shot,
            "tasks per update": row.training.tasks_per_step,
        }
    if row.updates is not None:
        found["updates"] = row.updates
    return found


def _network(row: Row) -> dict[str, int | str]:
    """Return a row's backbone and the statistics that normalise in it."""
    text = row.params.get("backbone")
    if not isinstance(text, str):
        return {}
    name, params = address.parse(text)
    others = {key: value for key, value in params.items() if key not in ("bn", "init_std")}
    found: dict[str, int | str] = {"backbone": address.write(name, others)}
    if name == "conv4":
        found["normalisation"] = params.get("bn", "running")
    return found


def _inner_loop(row: Row) -> dict[str, int | str]:
    """Return the steps and the step size of the inner loop, if there is one."""
    params = row.params
    if "inner_steps" not in params:
        return {}
    found: dict[str, int | str] = {
        "inner steps": int(params["inner_steps"]),
        "inner steps at test": int(params.get("adapt_steps") or params["inner_steps"]),
        "order": "first" if params.get("first_order") else "second",
    }
    if row.algorithm == "maml":
        found["inner step size, for mean losses"] = str(params["inner_lr"])
    return found


def published_document(pairs: Sequence[Pair]) -> str:
    """Return one table for each suite."""
    parts = ["# Comparison with published numbers"]
    for suite in dict.fromkeys(pair.published.suite for pair in pairs):
        of_suite = [pair for pair in pairs if pair.published.suite == suite]
        cells = [_cells(pair) for pair in of_suite]
        sources = dict.fromkeys(f"- {p.published.method}: {p.published.source}" for p in of_suite)
        parts += [
            f"## {suite}",
            markdown_table(_COLUMNS, cells, _TEXT_COLUMNS, padded=False),
            "\n".join(sources),
        ]
    if any(not pair.published.verified for pair in pairs):
        parts.append("(?) from memory, not yet checked in the paper.")
    return "\n\n".join(parts) + "\n"


def _cells(pair: Pair) -> list[str]:
    number = pair.published
    mse = pair.metric == "mse"
    show = formatting.error if mse else formatting.accuracy
    shown = "" if pair.difference is None else formatting.difference(pair.difference, pair.metric)
    return [
        number.method + ("" if number.verified else " (?)"),
        _published_score(number, mse),
        formatting.UNKNOWN if pair.address is None else code(pair.address),
        pair.budget or formatting.UNKNOWN,
        show(pair.score, pair.ci95) if pair.score is not None else formatting.UNKNOWN,
        shown or formatting.UNKNOWN,
        _protocol(pair),
    ]


def _protocol(pair: Pair) -> str:
    """Return the differences from our row; without a row, all that is known."""
    if pair.address is not None:
        return "; ".join(pair.protocol_differences) or "no known difference"
    known = [f"{what}: {value}" for what, value in pair.published.protocol.items()]
    return "; ".join(known) or formatting.UNKNOWN


def _published_score(number: Published, mse: bool) -> str:
    """Return a score with the digits of the paper: 98.8, 99.47, 98.70 ± 0.40, 0.67."""
    scale = 1 if mse else 100
    if number.half_ci95 is None:
        digits = f"{scale * number.score:.6g}"
        return digits if mse or "." in digits else f"{digits}.0"
    return f"{scale * number.score:.2f} ± {scale * number.half_ci95:.2f}"
