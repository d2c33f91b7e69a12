"""The plan: its cells, which of them are done, and what a run does about each."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from results_factory import make_result, make_suite
from training_materials import open_digits

from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, configure
from metabench.errors import DataError, UsageError
from metabench.learner import Algorithm
from metabench.plugins.code_digest import Code
from metabench.results.schema import Block, Failure, Result, Status
from metabench.results.store import Store
from metabench.suites.builtin_suites import SUITES
from metabench.suites.suite import Suite
from metabench.supervisor.plan import Planned, Policy, plan
from metabench.supervisor.requested_cells import shard

SMOKE = Budget.parse("smoke")
CODE = Code("ab" * 32, {}, {}, frozenset())


def algorithm(name: str, deterministic: bool = False) -> Algorithm:
    return Algorithm(name, build="module:attr", params={"lr": 0.1}, deterministic=deterministic)


def some_cells(seeds: int = 3) -> list[Cell]:
    given: list[dict[str, str]] = [{}, {"lr": "1"}]
    algorithms = [configure(algorithm("maml"), one, "some.py") for one in given]
    algorithms.append(configure(algorithm("floor", deterministic=True), {}, "some.py"))
    return [
        Cell(suite, configured, seed, SMOKE, "cpu", code=CODE)
        for suite in SUITES[:3]
        for configured in algorithms
        for seed in range(1 if configured.algorithm.deterministic else seeds)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_shards_are_disjoint_and_complete(count: int) -> None:
    everything = some_cells()
    parts = [shard(everything, i, count) for i in range(1, count + 1)]
    paths = [cell.path for part in parts for cell in part]
    assert sorted(paths) == sorted(cell.path for cell in everything)
    assert len(set(paths)) == len(paths)


def test_a_shard_does_not_depend_on_what_else_is_run() -> None:
    few = {c.path for c in shard(some_cells(seeds=1), 1, 2)}
    many = {c.path for c in shard(reversed(some_cells(seeds=3)), 1, 2)}
    assert few == many & {c.path for c in some_cells(seeds=1)}
    assert 0 < len(few) < len(some_cells(seeds=1))


@pytest.fixture
def cell() -> Cell:
    return some_cells()[0]


@pytest.fixture
def look_up(cell: Cell, tmp_path: Path):
    """Store a result for the cell, then plan with a policy."""
    opened = open_digits()

    def look(result: Result | None, **policy: int) -> Planned:
        store = Store(tmp_path)
        if result is not None:
            store.write(cell.path, result)
        (planned,) = plan([cell], store, lambda suite: opened, Policy(**policy))
        return planned

    return look


def stored(status: Status = "ok", code: str = CODE.digest, **suite: str) -> Result:
    """A result of the cell, made by the code as it is now on the episodes as they are."""
    opened = open_digits()
    result = make_result("maml", status=status)
    digests = {"episodes_digest": opened.episodes.digest, "pixels_digest": opened.dataset.pixels}
    return msgspec.structs.replace(
        result,
        suite=msgspec.structs.replace(result.suite, **{**digests, **suite}),
        job=msgspec.structs.replace(result.job, code=code),
    )


@pytest.mark.parametrize(
    ("result", "state", "todo"),
    [
        (None, "new", True),
        (stored(), "done", False),
        (stored("not_applicable"), "done", False),
        (stored("error"), "failed", False),
        (stored("timeout"), "failed", False),
        (stored("oom"), "failed", False),
        (stored("crashed"), "failed", False),
        (stored("interrupted"), "interrupted", True),
        (stored(code="cd" * 32), "stale", True),
        (stored("error", code="cd" * 32), "stale", True),
        (stored(episodes_digest="ef" * 32), "changed", True),
        (stored(pixels_digest="ef" * 32), "changed", True),
    ],
)
def test_without_a_policy(look_up, result: Result | None, state: str, todo: bool) -> None:
    planned = look_up(result)
    assert (planned.state, planned.todo, planned.stored) == (state, todo, result)


@pytest.mark.parametrize("said", ["support", "do"])  # "do" by metabench 0.1.0
def test_a_refusal_has_changed_once_the_catalogue_says_otherwise(look_up, said: str) -> None:
    """The catalogue may be another file than the learner, which the code digest covers."""
    refused = stored("not_applicable")
    failure = Failure(reason=f"it does not {said} classification")
    planned = look_up(msgspec.structs.replace(refused, failure=failure))
    assert (planned.state, planned.todo) == ("changed", True)
    own = msgspec.structs.replace(refused, failure=Failure(reason="images are too small"))
    assert look_up(own).state == "done"


def test_force_runs_everything_again(look_up) -> None:
    assert look_up(None, force=True).state == "new"
    for result in (stored(), stored("error"), stored(code="cd" * 32)):
        planned = look_up(result, force=True)
        assert (planned.state, planned.todo) == ("forced", True)


def test_keep_stale_keeps_what_other_code_made_and_nothing_else(look_up) -> None:
    assert not look_up(stored(code="cd" * 32), keep_stale=True).todo
    assert look_up(stored(episodes_digest="ef" * 32), keep_stale=True).todo
    assert look_up(stored("interrupted"), keep_stale=True).todo


def test_retry_failed_runs_what_failed_and_keeps_the_rest(look_up) -> None:
    assert look_up(stored("timeout"), retry_failed=True).todo
    assert look_up(stored("error", code="cd" * 32), retry_failed=True, keep_stale=True).todo
    assert not look_up(stored(), retry_failed=True).todo
    assert not look_up(stored("not_applicable"), retry_failed=True).todo


def test_a_damaged_file_is_run_again_and_left_alone_until_then(
    look_up, cell: Cell, tmp_path: Path
) -> None:
    file = Store(tmp_path).write(cell.path, stored())
    file.write_bytes(file.read_bytes()[:100])
    planned = look_up(None)
    assert (planned.state, planned.todo, planned.stored) == ("damaged", True, None)
    assert len(file.read_bytes()) == 100


def test_a_file_that_metabench_did_not_write_so_is_run_again(
    look_up, cell: Cell, tmp_path: Path
) -> None:
    other = msgspec.structs.replace(stored(), job=make_result(chosen={"lr": 9}).job)
    for result in (other, stored(train_on="another")):  # they belong to another cell
        assert look_up(result).state == "damaged"
    file = Store(tmp_path).write(cell.path, stored())
    file.write_text(file.read_text().replace('"provider":"', '"provider":"x'))
    assert look_up(None).state == "damaged"


def test_a_file_that_cannot_be_read_ends_the_plan(look_up, cell: Cell, tmp_path: Path) -> None:
    file = Store(tmp_path).write(cell.path, stored())
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(DataError, match="made by a newer version"):
        look_up(None)


def test_cells_whose_paths_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    one = Algorithm("maml", build="module:attr", params={"norm": "none"})
    configured = [configure(one, {"norm": value}, "some.py") for value in ("b", "B")]
    lower, upper = (Cell(SUITES[0], one, 0, SMOKE, "cpu") for one in configured)
    said = f"{upper.path} and {lower.path} are one file on systems that ignore case"
    with pytest.raises(UsageError, match=re.escape(said)):
        plan([lower, upper], Store(tmp_path), lambda suite: open_digits(), Policy())
    # On such a system, the result of one is found at the path of the other.
    Store(tmp_path).write(upper.path, make_result("maml", chosen={"norm": "b"}))
    for policy in (Policy(), Policy(force=True)):
        with pytest.raises(UsageError, match=re.escape(said)):
            plan([upper], Store(tmp_path), lambda suite: open_digits(), policy)


def test_suites_are_opened_only_where_there_is_something_to_compare(
    cell: Cell, tmp_path: Path
) -> None:
    def refuse(suite: Suite):
        raise AssertionError(f"opened {suite.name}")

    (planned,) = plan([cell], Store(tmp_path), refuse, Policy())
    assert planned.state == "new"


def test_a_cell_with_fewer_blocks_than_asked_for_is_run_again(look_up) -> None:
    scores = stored().scores
    assert scores is not None
    further = msgspec.structs.replace(
        stored(), blocks=[Block(episodes_digest="b", scores=scores)] * 2
    )
    assert look_up(stored(), blocks=3).state == "partial"
    assert look_up(stored(), blocks=3).todo
    assert look_up(further, blocks=3).state == "done"
    assert look_up(further).state == "done"
    assert look_up(stored("error"), blocks=3).state == "failed"


def test_a_result_on_other_data_of_the_same_name_is_not_replaced(tmp_path: Path) -> None:
    labels = np.arange(10).repeat(4)
    images = 5 * np.arange(40, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    mine, other = (
        Suite.from_arrays(x, labels, name="mine", way=2, query=1, episodes=5, data_root=tmp_path)
        for x in (images, 255 - images)
    )
    cell = replace(some_cells()[0], suite=mine)
    opened = other.open()
    facts = {"episodes_digest": opened.episodes.digest, "pixels_digest": opened.dataset.pixels}
    facts |= {"name": mine.name, "dataset": "mine"}
    result = make_result("maml", suite=make_suite(way=2, query=1, episodes=5))
    result = msgspec.structs.replace(result, suite=msgspec.structs.replace(result.suite, **facts))
    store = Store(tmp_path / "results")
    store.write(cell.path, result)
    with pytest.raises(UsageError, match=r"was made on other data than suite mine-2w1s: give"):
        plan([cell], store, Suite.open, Policy())
    (forced,) = plan([cell], store, Suite.open, Policy(force=True))
    assert forced.state == "forced"
