"""Changes between two sets of results."""

from __future__ import annotations

from results_factory import make_result, make_suite

from metabench.tables.leaderboard_diff import changed_rows, diff_document
from metabench.tables.ranked_tables import Table, build_tables
from metabench.tables.rows import StoredResult

SUITE = make_suite(episodes=4, query=2)


def tables(*results):
    return build_tables(StoredResult(None, result) for result in results)


def made(name, correct, **given):
    return make_result(name, suite=SUITE, correct=correct, **given)


def test_a_change_of_times_only_is_no_change() -> None:
    before = tables(made("a", [8, 8, 9, 9], adapt_s=[0.001]))
    after = tables(made("a", [8, 8, 9, 9], adapt_s=[0.002], fit_s=99))
    assert changed_rows(before, after) == []
    assert diff_document([], "main") == "No score differs from main.\n"


def test_changed_new_and_removed_rows_are_listed() -> None:
    before = tables(made("a", [8, 8, 9, 9]), made("gone", [5, 5, 5, 6]))
    after = tables(made("a", [9, 9, 9, 9]), made("new", [7, 7, 7, 8]))
    found = {change.row.address: change for change in changed_rows(before, after)}
    assert set(found) == {"a", "gone", "new"}
    text = diff_document(changed_rows(before, after), "main")
    assert text.startswith("Rows that differ from main: 3.\n")
    (line,) = [line for line in text.splitlines() if "`a`" in line]
    assert line.endswith(
        "| 85.00 ± 9.19 (tier 1, seeds 1) | 90.00 ± 0.00 (tier 1, seeds 1) | +5.00 |"
    )
    assert "| `gone` | 52.50 ± 7.96 (tier 2, seeds 1) | no row | - |" in text
    assert "| `new` | no row | 72.50 ± 7.96 (tier 2, seeds 1) | - |" in text


def test_rows_with_another_device_or_training_are_named_differently() -> None:
    other = make_suite(episodes=4, query=2, train_on="glyphs-5w1s")

    def all_rows(right: int) -> list[Table]:
        correct = [right] * 4
        return tables(
            made("a", correct),
            made("a", correct, device="cuda"),
            make_result("a", suite=other, correct=correct),
        )

    text = diff_document(changed_rows(all_rows(8), all_rows(9)), "main")
    assert {line.split(" | ")[2] for line in text.splitlines()[4:]} == {
        "`a`",
        "`a`, cuda",
        "`a`, trained on glyphs-5w1s",
    }


def test_a_row_that_fails_now_is_listed() -> None:
    after = tables(make_result("a", suite=SUITE, status="error"))
    assert "| error | - |" in diff_document(
        changed_rows(tables(made("a", [8, 8, 9, 9])), after), "main"
    )


def test_other_episodes_are_other_rows() -> None:
    other = make_suite(episodes=4, query=2, manifest="other")
    after = tables(make_result("a", suite=other, correct=[8, 8, 9, 9]))
    found = changed_rows(tables(made("a", [8, 8, 9, 9])), after)
    assert [(change.old is None, change.new is None) for change in found] == [
        (True, False),
        (False, True),
    ]
