"""A table holds only rows that may be compared, best first."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from results_factory import make_environment, make_result, make_suite

from metabench.results.schema import CurvePoint, Properties
from metabench.tables import flags
from metabench.tables.ranked_tables import build_tables
from metabench.tables.rows import StoredResult


def tables_of(*results):
    return build_tables(StoredResult(None, result) for result in results)


def rows_of(*results):
    (table,) = tables_of(*results)
    return table.rows


def places(rows):
    return [(row.rank, row.address) for row in rows]


def test_the_highest_accuracy_is_first():
    rows = rows_of(
        make_result("low", accuracy=0.3),
        make_result("high", accuracy=0.9),
        make_result("middle", accuracy=0.6),
    )
    assert places(rows) == [(1, "high"), (2, "middle"), (3, "low")]


def test_the_lowest_error_is_first():
    suite = make_suite("sinusoid-5s", way=1, metric="mse", episodes=2)
    rows = rows_of(
        make_result("high", suite=suite, error=[3.0, 4.0]),
        make_result("low", suite=suite, error=[0.1, 0.2]),
        make_result("broken", suite=suite, error=[0.0, float("nan")]),
    )
    assert places(rows) == [(1, "low"), (2, "high"), (None, "broken")]


def test_equal_scores_share_a_rank():
    suite = make_suite(episodes=2)
    rows = rows_of(
        make_result("b", suite=suite, correct=[9, 9]),
        make_result("a", suite=suite, correct=[8, 10]),
        make_result("c", suite=suite, correct=[1, 1]),
    )
    assert places(rows) == [(1, "a"), (1, "b"), (3, "c")]


def test_rows_without_a_score_are_last_failures_first():
    rows = rows_of(
        make_result("na", status="not_applicable", reason="needs base data"),
        make_result("stopped", status="interrupted"),
        make_result("failed", status="oom"),
        make_result("good", accuracy=0.1),
    )
    assert places(rows) == [(1, "good"), (None, "failed"), (None, "stopped"), (None, "na")]


def test_budgets_suites_and_episodes_are_never_mixed():
    results = [
        make_result(suite=suite, budget=budget)
        for suite in (
            make_suite("digits-5w1s"),
            make_suite("digits-5w1s", manifest="others"),
            make_suite("glyphs-5w1s"),
        )
        for budget in ("paper", "tasks=100", "smoke", "standard")
    ]
    tables = tables_of(*results)
    assert len(tables) == 12
    assert all(len(table.rows) == 1 for table in tables)
    assert all(row.budget == table.budget for table in tables for row in table.rows)
    assert [t.budget for t in tables if t.suite == "glyphs-5w1s"] == [
        "smoke",
        "standard",
        "paper",
        "tasks=100",
    ]


def test_a_suite_with_two_lists_of_episodes_says_so_in_both_tables():
    other = make_suite(manifest="others")
    first, second, third = tables_of(
        make_result(), make_result(suite=other), make_result(budget="standard")
    )
    assert (first.budget, first.alone) == ("smoke", False)
    assert (second.budget, second.alone) == ("smoke", False)
    assert (third.budget, third.alone) == ("standard", True)


def test_seeds_are_one_row_and_devices_and_parameters_are_rows_of_their_own():
    rows = rows_of(
        *[make_result("maml", seed=seed) for seed in range(3)],
        make_result("maml", chosen={"inner_lr": 0.4}),
        make_result("maml", device="cuda", environment=make_environment(device_name="A GPU")),
    )
    assert sorted((row.address, row.device, row.seeds) for row in rows) == [
        ("maml", "cpu", 3),
        ("maml", "cuda", 1),
        ("maml[inner_lr=0.4]", "cpu", 1),
    ]


def test_of_two_results_for_one_seed_the_newer_counts():
    suite = make_suite(episodes=2)
    (row,) = rows_of(
        make_result(suite=suite, correct=[9, 9], created="2026-02-01T00:00:00Z"),
        make_result(suite=suite, correct=[3, 3], created="2026-01-01T00:00:00Z"),
    )
    assert row.seeds == 1
    assert row.score == pytest.approx(9 / 15)


def test_the_order_of_the_results_changes_nothing():
    results = [
        make_result(name, seed=seed, suite=make_suite(manifest=manifest))
        for name in ("a", "b", "c")
        for seed in range(3)
        for manifest in ("one", "two")
    ]
    expected = tables_of(*results)
    random.Random(0).shuffle(results)
    assert tables_of(*results) == expected


def test_no_results_make_no_tables():
    assert build_tables([]) == []


def test_the_command_reproduces_every_row():
    (table,) = tables_of(
        make_result("protonet", seed=2),
        make_result("protonet", seed=0),
        make_result("maml", chosen={"inner_lr": 0.4}),
        make_result("maml", device="cuda"),
        make_result("maml", suite=make_suite(train_on="glyphs-5w1s")),
    )
    base = "metabench run -s digits-5w1s"
    assert sorted(table.commands) == [
        f"{base} -a 'maml[inner_lr=0.4]' -a protonet --seeds 3 --budget smoke",
        f"{base} -a maml --seeds 1 --budget smoke --device cuda",
        f"{base} -a maml --seeds 1 --budget smoke --train-on glyphs-5w1s",
    ]


def test_the_command_names_the_threads_unless_they_are_all_cores():
    results = [
        make_result("maml", environment=make_environment(threads=1)),
        make_result("protonet", environment=make_environment(threads=2)),  # of two cores
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    assert table.commands == [
        "metabench run -s digits-5w1s -a maml --seeds 1 --budget smoke --threads 1",
        "metabench run -s digits-5w1s -a protonet --seeds 1 --budget smoke",
    ]


def test_the_command_names_the_plugins_of_its_rows():
    mine, none = (make_environment(plugins=plugins) for plugins in (["-p 'a b/my.py'"], []))
    (table,) = tables_of(
        make_result("mine", environment=mine),
        make_result("maml", environment=none),
        make_result("gpu", environment=none, device="cuda"),
    )
    assert table.commands == [
        "metabench run -s digits-5w1s -p 'a b/my.py' -a maml -a mine --seeds 1 --budget smoke",
        "metabench run -s digits-5w1s -a gpu --seeds 1 --budget smoke --device cuda",
    ]


def test_rows_with_equally_many_right_answers_share_a_rank():
    """Means that are summed in another order differ in the last digit."""
    rng = np.random.default_rng(3)
    right = rng.integers(30, 75, 100)
    suite = make_suite(episodes=100, query=15)
    fast, slow = (
        make_result(name, suite=suite, correct=rng.permutation(right).tolist(), adapt_s=[seconds])
        for name, seconds in (("fast", 0.001), ("slow", 0.05))
    )
    (table,) = tables_of(fast, slow)
    assert [(row.algorithm, row.rank, row.pareto) for row in table.rows] == [
        ("fast", 1, True),
        ("slow", 1, False),
    ]


def test_rows_with_fewer_episodes_have_no_rank():
    suite = make_suite(episodes=200)
    (table,) = tables_of(
        make_result("whole", suite=suite, accuracy=0.6),
        make_result("other", suite=suite, accuracy=0.5),
        make_result("short", suite=suite, accuracy=0.9, scored=100),
    )
    assert [(row.algorithm, row.rank, row.tier) for row in table.rows] == [
        ("whole", 1, 1),
        ("other", 2, 2),
        ("short", None, None),
    ]
    assert "100 of 200 episodes" in table.rows[2].flags


def test_times_are_from_the_machine_on_which_most_cells_ran_alone():
    big, small = make_environment(cpu="Big CPU"), make_environment(cpu="Small CPU")
    shared = make_environment(cpu="Big CPU", contended=True)
    (table,) = tables_of(
        make_result("a", environment=small),
        make_result("b", environment=small),
        make_result("c", environment=big),
        make_result("d", environment=shared),
        make_result("e", environment=shared),
    )
    assert [name.partition(",")[0] for name in table.machines] == ["Small CPU", "Big CPU"]
    assert {row.address for row in table.rows if row.adapt_ms is not None} == {"a", "b"}


def test_each_device_has_a_machine_of_its_own():
    gpu = make_environment(device_name="A GPU")
    (table,) = tables_of(
        make_result("a"), make_result("b"), make_result("a", device="cuda", environment=gpu)
    )
    assert all(row.adapt_ms is not None for row in table.rows)
    assert len(table.machines) == 2


def test_rows_have_tiers_and_rank_intervals_and_others_none():
    suite = make_suite(episodes=200)
    results = [
        make_result("good", suite=suite, accuracy=0.9),
        make_result("as-good", suite=suite, accuracy=0.9),
        make_result("bad", suite=suite, accuracy=0.3),
        make_result("broken", suite=suite, status="error"),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    tiers = {row.algorithm: row.tier for row in table.rows}
    assert tiers == {"good": 1, "as-good": 1, "bad": 2, "broken": None}
    ranks = {row.algorithm: row.rank_interval for row in table.rows}
    assert (ranks["bad"], ranks["broken"]) == ((3, 3), None)
    assert table.detectable is not None
    assert 0 < table.detectable < 0.1


def test_errors_have_tiers_with_the_lowest_first():
    suite = make_suite("sinusoid-5s", way=1, metric="mse", episodes=50)
    good, bad = [0.1, 0.2] * 25, [2.0, 3.0] * 25
    results = [
        make_result("bad", suite=suite, error=bad),
        make_result("good", suite=suite, error=good),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    assert [(row.algorithm, row.tier) for row in table.rows] == [("good", 1), ("bad", 2)]


def test_rows_that_no_other_beats_in_score_and_time_are_marked():
    suite = make_suite(episodes=100)
    results = [
        make_result("best", suite=suite, accuracy=0.9, adapt_s=[0.010]),
        make_result("fast", suite=suite, accuracy=0.7, adapt_s=[0.001]),
        make_result("beaten", suite=suite, accuracy=0.5, adapt_s=[0.005]),
        make_result("untimed", suite=suite, accuracy=0.99, adapt_s=[]),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    marks = {row.algorithm: row.pareto for row in table.rows}
    assert marks == {"best": True, "fast": True, "beaten": False, "untimed": None}


def test_the_time_of_a_star_includes_prediction():
    """A learner that adapts to nothing may need long to predict."""
    suite = make_suite(episodes=100)
    results = [
        make_result("lazy", suite=suite, accuracy=0.7, adapt_s=[1e-6], predict_s=[0.02]),
        make_result("eager", suite=suite, accuracy=0.9, adapt_s=[0.01], predict_s=[0.001]),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    assert [(row.algorithm, row.pareto) for row in table.rows] == [("eager", True), ("lazy", False)]


def test_stars_compare_rows_of_one_device_only():
    suite = make_suite(episodes=100)
    elsewhere = make_environment(cpu="Another CPU", device_name="GPU")
    results = [
        make_result("protonet", suite=suite, adapt_s=[0.010]),
        make_result("protonet", suite=suite, adapt_s=[0.001], device="cuda", environment=elsewhere),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    assert [row.pareto for row in table.rows] == [True, True]


def test_times_with_other_settings_of_the_allocator_are_not_mixed():
    suite = make_suite()
    other = make_environment(allocator={"MALLOC_ARENA_MAX": "1"})
    results = [
        make_result(seed=0, suite=suite, adapt_s=[0.003]),
        make_result(seed=1, suite=suite, adapt_s=[0.003]),
        make_result(seed=2, suite=suite, adapt_s=[0.001], environment=other),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    (row,) = table.rows
    assert row.adapt_ms == 3
    assert "other machine" in row.flags
    assert any(name.endswith("MALLOC_ARENA_MAX=1") for name in table.machines)


def test_results_with_validation_have_no_cold_time():
    suite = make_suite()
    warm, cold = make_result("maml", suite=suite), make_result("protonet", suite=suite)
    point = CurvePoint(update=1, values={"loss": 1.0, "validation": 0.5})
    warm = replace(warm, training=replace(warm.training, curve=[point]))
    (table,) = build_tables(StoredResult(None, result) for result in (warm, cold))
    assert {row.algorithm: row.cold_ms for row in table.rows} == {"maml": None, "protonet": 50}


def test_spreads_between_seeds_and_between_episodes_are_separate():
    suite = make_suite(episodes=4, query=2)  # ten queries
    results = [
        make_result(seed=0, suite=suite, correct=[8, 8, 6, 6]),
        make_result(seed=1, suite=suite, correct=[6, 6, 4, 4]),
    ]
    (table,) = build_tables(StoredResult(None, result) for result in results)
    (row,) = table.rows
    assert row.sd_episodes == pytest.approx((0.04 / 3) ** 0.5)
    assert row.sd_seeds == pytest.approx(0.02**0.5)  # of 0.7 and 0.5; the rest has no noise


class TestTransductive:
    """Transductive rows are in a table of their own."""

    @staticmethod
    def measured(inductive: bool | None, **other: object):
        return Properties(inductive=inductive, isolated=True, independent=True, episodes=2, **other)

    def tables(self, **properties: Properties | None):
        results = [
            msgspec.structs.replace(make_result(name), properties=found)
            for name, found in properties.items()
        ]
        return build_tables(StoredResult(None, result) for result in results)

    def test_the_measured_property_decides(self) -> None:
        first, second = self.tables(maml=self.measured(True), cheat=self.measured(False), old=None)
        assert {row.algorithm: row.inductive for row in first.rows} == {"maml": True, "old": None}
        assert [(row.algorithm, row.rank, row.tier) for row in second.rows] == [("cheat", 1, 1)]
        assert (first.transductive, second.transductive) == (False, True)
        assert first.episodes_digest == second.episodes_digest
        assert first.alone
        assert second.alone
        assert flags.UNDECLARED in second.rows[0].flags

    def test_one_transductive_seed_is_enough(self) -> None:
        results = [
            msgspec.structs.replace(make_result(seed=seed), properties=self.measured(seed != 1))
            for seed in range(3)
        ]
        (table,) = build_tables(StoredResult(None, result) for result in results)
        assert table.transductive

    def test_the_declared_property_counts_if_none_was_measured(self) -> None:
        said = make_result(chosen={"backbone": "conv4[bn=episode]"}, properties=None)
        (table,) = build_tables([StoredResult(None, said)])
        assert table.transductive
        assert table.rows[0].flags == [flags.TRANSDUCTIVE, flags.UNPROBED]
        other = msgspec.structs.replace(said, properties=self.measured(True))
        (table,) = build_tables([StoredResult(None, other)])
        assert not table.transductive

    def test_a_row_without_a_score_is_in_the_first(self) -> None:
        failed = make_result(chosen={"backbone": "conv4[bn=episode]"}, status="error")
        (table,) = build_tables([StoredResult(None, failed)])
        assert not table.transductive

    def test_failed_and_missing_probes_are_flagged(self) -> None:
        (table,) = self.tables(
            bad=Properties(inductive=True, isolated=False, independent=False, episodes=2),
            odd=self.measured(None, problem="one query is too few"),
        )
        found = {row.algorithm: row.flags for row in table.rows}
        assert found == {"bad": [flags.MIXES, flags.CARRIES], "odd": [flags.UNPROBED]}
        assert all(flags.note(flag) for row in table.rows for flag in row.flags)


def test_recorded_options_that_load_no_plugin_are_left_out_of_the_command():
    odd = make_environment(plugins=["-p it's.py", "--results /etc", "-p 'my plugin.py'"])
    (table,) = tables_of(make_result("mine", environment=odd))
    assert table.commands == [
        "metabench run -s digits-5w1s -p 'my plugin.py' -a mine --seeds 1 --budget smoke"
    ]


def test_the_command_names_training_data_by_its_address():
    suite = replace(make_suite(train_on="folder-x"), train_on_address="folder:my x")
    (table,) = tables_of(make_result("maml", suite=suite))
    assert table.commands == [
        "metabench run -s digits-5w1s -a maml --seeds 1 --budget smoke --train-on 'folder:my x'"
    ]
