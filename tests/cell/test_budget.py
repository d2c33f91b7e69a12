"""A budget: the amount of meta-training and the number of test episodes."""

from __future__ import annotations

import pytest

from metabench.cell.budget import Budget
from metabench.errors import UsageError
from metabench.learner import DEFAULT_BUDGETS, PRESETS, Algorithm


def algorithm(**budgets: int) -> Algorithm:
    return Algorithm("some", build="module:attr", budgets=budgets or DEFAULT_BUDGETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_updates_that_the_algorithm_declares(preset: str) -> None:
    budget = Budget.parse(preset)
    declared = algorithm(smoke=3, standard=30, paper=300)
    assert budget.name == preset
    assert budget.updates(declared, tasks_per_step=4) == declared.budgets[preset]
    assert (budget.tasks, budget.seconds) == (None, None)


def test_a_preset_that_an_algorithm_leaves_out_has_a_default() -> None:
    assert Budget.parse("paper").updates(algorithm(smoke=3), 1) == DEFAULT_BUDGETS["paper"]


@pytest.mark.parametrize(("tasks_per_step", "updates"), [(1, 10), (3, 4), (4, 3), (20, 1)])
def test_tasks_are_shared_among_updates(tasks_per_step: int, updates: int) -> None:
    budget = Budget.parse("tasks=10")
    assert budget.updates(algorithm(), tasks_per_step) == updates
    assert (budget.tasks, budget.seconds) == (10, None)


def test_seconds_limit_time_and_nothing_else() -> None:
    budget = Budget.parse("seconds=0.5")
    assert (budget.seconds, budget.tasks, budget.updates(algorithm(), 1)) == (0.5, None, None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tasks=2000", "tasks=2000"),
        ("tasks=1234567", "tasks=1234567"),
        ("tasks=1234568", "tasks=1234568"),
        ("tasks= 10", "tasks=10"),
        ("seconds=60", "seconds=60"),
        ("seconds=60.0", "seconds=60"),
        ("seconds=0.12345678", "seconds=0.12345678"),
    ],
)
def test_equal_amounts_have_equal_names_and_others_have_not(text: str, name: str) -> None:
    assert Budget.parse(text).name == name
    assert Budget.parse(name) == Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("smok", "unknown budget 'smok': did you mean 'smoke'? Or write tasks=N or seconds=S."),
        ("tasks=0", "budget 'tasks=0': write tasks=N or seconds=S with a positive number"),
        ("tasks=1.5", "budget 'tasks=1.5'"),
        ("tasks=", "budget 'tasks='"),
        (f"tasks={'9' * 400}", "budget 'tasks=999"),
        ("seconds=-1", "budget 'seconds=-1'"),
        ("seconds=nan", "budget 'seconds=nan'"),
        ("seconds=inf", "budget 'seconds=inf'"),
        ("updates=5", "budget 'updates=5'"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write(text: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        Budget.parse(text)
    assert str(caught.value).startswith(error)
    assert "tasks=N or seconds=S" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "scored"), [("smoke", 100), ("standard", 1000), ("tasks=5", 1000), ("seconds=1", 1000)]
)
def test_only_smoke_scores_fewer_episodes(text: str, scored: int) -> None:
    assert Budget.parse(text).scored(1000) == scored
    assert Budget.parse(text).scored(7) == 7


def test_smoke_validates_on_fewer_episodes() -> None:
    smoke, standard = (Budget.parse(name).validation_episodes for name in ("smoke", "standard"))
    assert 0 < smoke < standard
