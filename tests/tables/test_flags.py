"""Each flag is set when its condition holds, and every flag has a note."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from results_factory import make_environment, make_result, make_suite

from metabench.results.schema import MetaTraining, Result, Training
from metabench.tables import flags
from metabench.tables.ranked_tables import build_tables
from metabench.tables.rows import StoredResult


def flags_of(*results, algorithm="protonet"):
    (table,) = build_tables(StoredResult(None, result) for result in results)
    (row,) = [row for row in table.rows if row.algorithm == algorithm]
    return row.flags


def seeds(count, **given):
    return [make_result(seed=seed, **given) for seed in range(count)]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, []), (2, ["seeds<5"]), (4, ["seeds<5"]), (5, [])]
)
def test_few_seeds_are_flagged_one_seed_is_not(count, expected):
    assert flags_of(*seeds(count)) == expected


def test_a_seed_whose_best_state_could_not_be_restored_is_flagged():
    training = MetaTraining(
        updates=2,
        tasks=2,
        images=2,
        seconds=1.0,
        curve=[],
        selected="last",
        selected_update=2,
        problem="the best state, of update 1, cannot be restored: ...",
    )
    results = [make_result(), replace(make_result(seed=1), training=training)]
    assert flags.LAST in flags.of_cells(results, None)
    assert flags.LAST not in flags.of_cells(results[:1], None)
    training = replace(training, problem="")
    assert flags.LAST not in flags.of_cells([replace(results[1], training=training)], None)


def test_seeds_trained_on_different_data_with_the_same_name_are_flagged():
    suites = [
        replace(make_suite(train_on="glyphs-5w1s"), train_on_digest=content * 64)
        for content in "aab"
    ]
    results = [make_result(seed=seed, suite=suite) for seed, suite in enumerate(suites)]
    assert flags.BASE in flags.of_cells(results, None)
    assert flags.BASE not in flags.of_cells(results[:2], None)


def test_seeds_that_failed_are_counted():
    assert flags_of(*seeds(5), make_result(seed=5, status="crashed")) == ["1 of 6 seeds failed"]


def test_interrupted_seeds_are_counted_separately_from_failures():
    found = flags_of(*seeds(5), make_result(seed=5, status="interrupted"))
    assert found == ["1 of 6 seeds interrupted"]
    found = flags_of(
        *seeds(5),
        *(
            make_result(seed=5 + k, status=status)
            for k, status in enumerate(("interrupted", "error", "interrupted"))
        ),
    )
    assert found == ["1 of 8 seeds failed", "2 of 8 seeds interrupted"]


def test_one_seed_of_a_trained_algorithm_is_flagged_in_results_without_a_declaration():
    trained = Training(way=5, shot=1, query=9, tasks_per_step=4)
    assert flags_of(make_result(training=trained)) == [flags.ONE_SEED]
    assert flags_of(make_result()) == []


def test_results_without_a_probe_are_flagged():
    assert flags_of(make_result(properties=None)) == [flags.UNPROBED]
    some = [*seeds(5), make_result(seed=5, properties=None)]
    assert flags_of(*some) == [flags.UNPROBED]


def test_an_interval_that_contains_chance_is_flagged():
    suite = make_suite(episodes=4)
    assert flags_of(make_result(suite=suite, correct=[2, 4, 3, 3])) == ["CI contains chance"]
    assert flags_of(make_result(suite=suite, correct=[12, 14, 13, 13])) == []


@pytest.mark.parametrize("phase", ["adapt_s", "predict_s", "throughput_s"])
def test_times_that_spread_widely_are_flagged(phase):
    assert flags_of(make_result(**{phase: [0.95, 1.0, 1.04] * 5})) == []
    assert flags_of(make_result(**{phase: [0.9, 1.0, 1.1] * 5})) == ["noisy"]


def test_times_with_an_import_in_them_are_flagged():
    assert flags_of(make_result(cold=["imported late"])) == ["cold"]


def test_times_that_are_not_shown_are_not_judged():
    contended = make_environment(contended=True)
    noisy = make_result(adapt_s=[1.0, 2.0, 3.0], cold=["compiled"], environment=contended)
    assert flags_of(noisy) == ["contended"]


def test_a_halved_batch_is_flagged():
    result = make_result()
    scores = replace(result.scores, halved=True)
    assert flags_of(replace(result, scores=scores)) == ["halved batch"]


def test_always_guessing_one_class_is_exactly_at_chance():
    assert flags_of(make_result(suite=make_suite(episodes=7), correct=[3] * 7)) == [
        "CI contains chance"
    ]


def test_normalisation_by_the_queries_own_statistics_is_flagged():
    episode, support = ({"backbone": f"conv4[bn={bn}]"} for bn in ("episode", "support"))
    assert flags_of(make_result(chosen=episode)) == ["bn=episode"]
    assert "transductive" in flags.note("bn=episode")
    assert flags_of(make_result(chosen=support)) == []


def test_the_shape_of_training_episodes_of_functions_has_no_way():
    suite = make_suite("sinusoid-10s", way=1, shot=10, metric="mse")
    training = Training(way=1, shot=5, query=10, tasks_per_step=4)
    result = make_result(suite=suite, error=[0.5] * 20, training=training)
    assert flags_of(result) == ["one seed", "train 5-shot"]
    assert "shape" in flags.note("train 5-shot")


def test_mean_squared_errors_have_no_chance():
    suite = make_suite("sinusoid-5s", way=1, metric="mse", episodes=2)
    assert flags_of(make_result(suite=suite, error=[0.9, 1.1])) == []


def test_outputs_that_are_not_finite_are_flagged():
    assert flags_of(*seeds(4), make_result(seed=4, nonfinite=3)) == ["non-finite outputs"]


def test_a_file_that_was_changed_is_flagged() -> None:
    altered = replace(make_result(seed=4), altered=True)
    assert flags_of(*seeds(4), altered) == ["altered"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (make_environment(dirty=True), ["dirty"]),
        (make_environment(dirty=None), ["dirty?"]),
        (make_environment(commit=None, dirty=None), []),
        (make_environment(contended=True), ["contended"]),
        (make_environment(cpu="Another CPU"), ["other machine"]),
        (make_environment(cpu="Another CPU", contended=True), ["contended"]),
    ],
)
def test_where_a_cell_ran_is_flagged(environment, expected):
    assert flags_of(*seeds(4), make_result(seed=4, environment=environment)) == expected


def test_seeds_with_different_code_are_flagged():
    assert flags_of(*seeds(4), make_result(seed=4, code="newer")) == ["code differs"]


def test_seeds_with_different_versions_of_a_package_are_flagged() -> None:
    def with_sklearn(seed: int, version: str) -> Result:
        environment = make_environment()
        packages = {**environment.packages, "sklearn": version}
        return make_result(seed=seed, environment=replace(environment, packages=packages))

    older = [with_sklearn(seed, "1.5") for seed in range(4)]
    assert flags_of(*older, with_sklearn(4, "1.6")) == ["packages differ"]
    assert flags_of(*older, make_result(seed=4, environment=make_environment())) == []


def test_images_unlike_those_of_most_rows_are_flagged():
    odd = make_suite(pixels="resized otherwise")
    results = [make_result("a"), make_result("b"), make_result("protonet", suite=odd)]
    assert flags_of(*results) == ["pixels differ"]
    assert flags_of(*results, algorithm="a") == []


def test_images_that_differ_between_seeds_are_flagged_once():
    odd = make_suite(pixels="resized otherwise")
    usual = [make_result("a"), make_result("b")]
    found = flags_of(*usual, *seeds(4, suite=odd), make_result(seed=4))
    assert found == ["pixels differ"]


def test_fewer_episodes_than_other_rows_are_flagged():
    suite = make_suite(episodes=2000)
    found = flags_of(make_result("a", suite=suite), make_result(suite=suite, scored=100))
    assert found == ["100 of 2,000 episodes"]


def test_training_episodes_of_another_shape_are_flagged():
    wide = Training(way=20, shot=1, query=5, tasks_per_step=1)
    assert flags_of(make_result(training=wide)) == ["one seed", "train 20-way 1-shot"]
    same = Training(way=5, shot=1, query=9, tasks_per_step=4)
    assert flags_of(make_result(training=same)) == ["one seed"]


def test_training_episodes_that_the_base_classes_changed_are_flagged():
    one = Training(way=5, shot=1, query=9, tasks_per_step=4, left_out=["a"])
    assert flags_of(make_result(training=one)) == ["one seed", "train without 1 class"]
    both = Training(way=5, shot=1, query=9, tasks_per_step=4, left_out=["a", "b"], asked_query=15)
    found = flags_of(make_result(training=both))
    assert found == ["one seed", "train 9 of 15 queries", "train without 2 classes"]
    assert all(flags.note(flag) for flag in found)


def test_other_base_data_is_flagged():
    assert flags_of(make_result(suite=make_suite(train_on="glyphs-5w1s"))) == [
        "trained on glyphs-5w1s"
    ]


def test_rows_without_a_score_carry_no_flags():
    dirty = make_environment(dirty=True)
    assert flags_of(make_result(status="error", environment=dirty)) == []


@pytest.mark.parametrize(
    "flag",
    [
        flags.FEW_SEEDS,
        flags.CHANCE,
        flags.NONFINITE,
        flags.DIRTY,
        flags.MAYBE_DIRTY,
        flags.CONTENDED,
        flags.OTHER_MACHINE,
        flags.CODE,
        flags.PIXELS,
        "100 of 1,000 episodes",
        "1 of 3 seeds failed",
        "2 of 3 seeds interrupted",
        "train 20-way 5-shot",
        "trained on glyphs-5w1s",
    ],
)
def test_every_flag_is_explained(flag):
    assert flags.note(flag)


def test_all_notes_differ():
    assert len(set(flags.NOTES.values())) == len(flags.NOTES)
