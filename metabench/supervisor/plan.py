"""The plan of a run: which of its cells are done, and which are to be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metabench.cell.cell import Cell, other_kind
from metabench.errors import UsageError
from metabench.plugins.staleness import is_stale
from metabench.results.schema import FAILED, Result
from metabench.results.store import Damaged, Store, path_of
from metabench.suites.open_suite import OpenSuite
from metabench.suites.suite import Suite

CellState = Literal[
    "new", "done", "stale", "failed", "interrupted", "changed", "partial", "damaged", "forced"
]

# The states of cells that `run` runs by default.
RUNS: frozenset[CellState] = frozenset(
    {"new", "stale", "interrupted", "changed", "partial", "damaged", "forced"}
)


@dataclass(frozen=True)
class Planned:
    """A cell and the state of its result file."""

    cell: Cell
    # "new": no file; "done"; "stale": computed by other code; "failed"; "interrupted"; "changed":
    # other episodes or images; "partial": fewer blocks of episodes than asked for; "damaged":
    # unreadable, of another cell, or changed since it was written; "forced"
    state: CellState
    todo: bool  # whether this run runs it
    stored: Result | None = None  # its result, if there is one


@dataclass(frozen=True)
class Policy:
    """Rules for which finished cells to run again."""

    force: bool = False  # run all of them
    retry_failed: bool = False  # run failed cells
    keep_stale: bool = False  # keep results of other code
    blocks: int = 1  # run cells that have scored fewer blocks of episodes than this


def plan(
    cells: Iterable[Cell], store: Store, open_suite: Callable[[Suite], OpenSuite], policy: Policy
) -> list[Planned]:
    """Look every cell up in the store.

    Raises:
        UsageError: two cells, or a cell and a stored result, have paths that differ in case only.
            Systems that treat "A" and "a" alike keep both in one file.
        DataError: a result cannot be read now.
    """
    cells = list(cells)
    first: dict[str, Cell] = {}
    for cell in cells:
        _check_case(cell.path, first.setdefault(cell.path.as_posix().casefold(), cell).path)
    return [_look_up(cell, store, open_suite, policy) for cell in cells]


def _look_up(
    cell: Cell, store: Store, open_suite: Callable[[Suite], OpenSuite], policy: Policy
) -> Planned:
    try:
        stored = store.load(cell.path)
    except Damaged:
        return Planned(cell, "damaged", todo=True)
    if stored is not None and stored.altered:
        return Planned(cell, "damaged", todo=True)
    if stored is not None:
        _check_case(cell.path, path_of(stored))
    state = _state(cell, stored, open_suite, policy)
    failed = stored is not None and stored.status in FAILED
    todo = (state in RUNS and not (state == "stale" and policy.keep_stale)) or (
        failed and policy.retry_failed
    )
    return Planned(cell, state, todo, stored)


def _state(
    cell: Cell,
    stored: Result | None,
    open_suite: Callable[[Suite], OpenSuite],
    policy: Policy,
) -> CellState:
    if stored is None:
        return "new"
    if policy.force:
        return "forced"
    if stored.status == "interrupted":
        return "interrupted"
    opened = open_suite(cell.suite)
    digests = (opened.episodes.digest, opened.dataset.pixels)
    if (stored.suite.episodes_digest, stored.suite.pixels_digest) != digests:
        _check_name(cell, cell.suite, stored.suite.dataset)
        return "changed"
    if cell.train_on is not None:
        material = open_suite(cell.train_on).material
        if material is None or material.digest != stored.suite.train_on_digest:
            _check_name(cell, cell.train_on, cell.train_on.dataset_name)
            return "changed"
    if is_stale(stored, cell.code):
        return "stale"
    if stored.status == "not_applicable" and _may_apply_now(cell, stored):
        return "changed"
    if stored.status == "ok" and len(stored.blocks) + 1 < policy.blocks:
        return "partial"
    return "failed" if stored.status in FAILED else "done"


def _check_case(path: Path, other: Path) -> None:
    """Refuse a path that equals the other one except for case."""
    if path != other:
        raise UsageError(
            f"{path} and {other} are one file on systems that ignore case: give one of them "
            "another name, or run them one at a time, each with its own --results"
        )


def _check_name(cell: Cell, suite: Suite, dataset: str) -> None:
    """Refuse to replace a result on other data that only happens to have the same name.

    Data of the catalogue changes when its code does. Other data under the same name, such as that
    of `Suite.from_arrays`, is another suite.

    Raises:
        UsageError: the data of the suite, or that of the stored result, is not of the catalogue.
    """
    data = suite.dataset
    if callable(data) or (isinstance(data, str) and suite.dataset_name == dataset):
        return
    raise UsageError(
        f"the stored result {cell.path} was made on other data than suite {suite.name}: give the "
        "suite another name or choose another folder of results; --force replaces the result"
    )


def _may_apply_now(cell: Cell, stored: Result) -> bool:
    """Return whether the catalogue now lists the task for an algorithm that lacked it."""
    # The second is how metabench 0.1.0 said it.
    reasons = (other_kind(cell), f"it does not do {cell.kind}")
    return stored.reason in reasons and cell.kind in cell.configured.algorithm.tasks
