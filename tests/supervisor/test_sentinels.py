"""Results of learners that cheat or interfere, and of honest learners in the same run.

Learners that crash, hang, print or hoard are in `test_cell_run.py`, those that only a check can
find in `tests/checks/test_check_runner.py`.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest
from cli.running import results, run_in

from metabench.results.schema import Result
from metabench.tables import flags
from metabench.tables.leaderboard_frame import read
from metabench.tables.ranked_tables import Table, build_tables
from metabench.tables.rows import Row

SENTINELS = Path(__file__).parents[1] / "sentinels"
CHEATS = ("fair", "oracle", "constant", "by-place", "by-row", "sleeper", "writes-results")
OTHERS = (
    *("honest", "normalises-by-batch", "mixes-tasks", "counts-queries", "remembers"),
    *("seeds-torch", "sets-python", "sets-dtype", "stops-gradients", "sets-threads"),
    *("sets-environment", "steps-never-learn", "first-order"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of all of them."""
    folder = tmp_path_factory.mktemp("sentinels")
    algorithms = [word for name in (*CHEATS, *OTHERS, "chance") for word in ("-a", name)]
    plugins = [
        word for name in ("cheating", "nonconforming") for word in ("-p", SENTINELS / f"{name}.py")
    ]
    outcome = run_in(folder, "run", "-s", "digits-5w1s", *plugins, *algorithms)
    assert outcome.code == 0, outcome.err
    return folder / "results-smoke"


@pytest.fixture(scope="module")
def found(ran: Path) -> dict[str, Result]:
    return {result.job.algorithm: result for result in results(ran).values()}


@pytest.fixture(scope="module")
def tables(ran: Path) -> list[Table]:
    return build_tables(read(ran)[0])


def row(tables: list[Table], name: str) -> tuple[Table, Row]:
    (pair,) = ((table, row) for table in tables for row in table.rows if row.algorithm == name)
    return pair


def outputs(result: Result) -> str:
    assert result.scores is not None
    return result.scores.outputs_digest


def test_an_oracle_finds_nothing(found: dict[str, Result]) -> None:
    assert outputs(found["oracle"]) == outputs(found["fair"])


def test_one_answer_for_all_is_chance_and_flagged(tables: list[Table]) -> None:
    _, constant = row(tables, "constant")
    assert constant.score == pytest.approx(0.2)
    assert flags.CHANCE in constant.flags
    _, chance = row(tables, "chance")
    assert flags.CHANCE in chance.flags


def test_the_place_of_a_query_says_nothing(tables: list[Table]) -> None:
    table, by_place = row(tables, "by-place")
    assert flags.CHANCE in by_place.flags
    assert table.transductive  # its answers depend on the others, which decide the table


def test_rows_of_the_support_set_are_no_secret(found: dict[str, Result]) -> None:
    """Labels are permuted per episode: knowing the row is knowing the label one is given."""
    assert abs(found["by-row"].per_episode().mean() - found["fair"].per_episode().mean()) < 1e-9


@pytest.mark.parametrize("name", ["normalises-by-batch", "counts-queries"])
def test_answers_that_depend_on_other_queries_are_set_apart(tables: list[Table], name: str) -> None:
    table, cheat = row(tables, name)
    assert table.transductive
    assert cheat.inductive is False
    assert flags.UNDECLARED in cheat.flags


def test_tasks_that_see_each_other_are_flagged(tables: list[Table]) -> None:
    assert flags.MIXES in row(tables, "mixes-tasks")[1].flags


def test_state_that_is_carried_over_is_flagged(tables: list[Table]) -> None:
    _, remembers = row(tables, "remembers")
    assert flags.CARRIES in remembers.flags
    assert remembers.inductive is None


def test_sleep_counts_as_time(found: dict[str, Result]) -> None:
    slow, fair = (found[name].timing for name in ("sleeper", "fair"))
    assert slow is not None
    assert fair is not None
    assert median(slow.adapt_s) - median(fair.adapt_s) > 0.019
    assert median(slow.predict_s) < 0.01


@pytest.mark.parametrize(
    "name",
    [
        *("seeds-torch", "sets-python", "stops-gradients", "sets-threads", "sets-environment"),
        "sets-dtype",
    ],
)
def test_what_a_learner_changes_in_its_process_changes_nothing(
    found: dict[str, Result], name: str
) -> None:
    assert outputs(found[name]) == outputs(found["honest"])


def test_the_honest_are_unharmed(found: dict[str, Result], tables: list[Table]) -> None:
    for name in ("honest", "fair"):
        table, honest = row(tables, name)
        assert found[name].status == "ok"
        assert not table.transductive
        assert honest.inductive is True
        assert honest.score is not None
        assert honest.score > 0.7
        measured = {flags.UNDECLARED, flags.MIXES, flags.CARRIES, flags.UNPROBED, flags.CHANCE}
        assert not measured & set(honest.flags)


def test_what_is_written_into_the_results_is_no_result(ran: Path, tables: list[Table]) -> None:
    _, problems = read(ran)
    assert len(problems) == 1
    assert "writes-results/default-s7-smoke-cpu.json: not a readable result" in problems[0]
    assert row(tables, "writes-results")[1].seeds == 1


@pytest.mark.parametrize("name", ["steps-never-learn", "first-order"])
def test_what_only_a_check_can_see_has_its_score(found: dict[str, Result], name: str) -> None:
    """Nothing is wrong with their answers; `metabench check` finds them (test_check_runner.py)."""
    assert found[name].status == "ok"
