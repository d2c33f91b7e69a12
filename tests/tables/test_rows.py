"""A row combines the results of its seeds."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from msgspec.structs import replace
from results_factory import make_environment, make_result, make_suite

from metabench.results.schema import Training
from metabench.statistics.intervals import mean_ci
from metabench.tables.aggregate import machine
from metabench.tables.rows import StoredResult, build_row, identity

HERE = machine(make_result())


def row_of(*results, timed_on=HERE):
    return build_row([StoredResult(None, result) for result in results], timed_on)


def test_score_and_interval_cover_seeds_and_episodes():
    results = [make_result(seed=seed, accuracy=0.6 + 0.1 * seed) for seed in range(3)]
    scores = np.array([[c / 15 for c in result.scores.correct] for result in results])
    expected = mean_ci(scores)
    row = row_of(*results)
    assert row.score == pytest.approx(scores.mean())
    assert row.ci95 == pytest.approx((expected.lo, expected.hi))
    assert (row.seeds, row.episodes) == (3, 20)


def test_macro_f1_is_the_mean_over_seeds_and_episodes():
    suite = make_suite(episodes=2)
    row = row_of(
        make_result(seed=0, suite=suite, f1=[0.5, 0.7]),
        make_result(seed=1, suite=suite, f1=[0.9, 0.5]),
    )
    assert row.macro_f1 == pytest.approx(0.65)


def test_seeds_with_different_numbers_of_episodes_are_compared_on_those_that_all_have():
    suite = make_suite(episodes=6)
    row = row_of(
        make_result(seed=0, suite=suite, correct=[15, 0, 15, 0, 0, 0]),
        make_result(seed=1, suite=suite, correct=[15, 0], scored=2),
    )
    assert row.episodes == 2
    assert row.score == pytest.approx(0.5)


def test_mse_rows_have_no_macro_f1():
    suite = make_suite("sinusoid-5s", way=1, metric="mse", episodes=2)
    row = row_of(make_result(suite=suite, error=[1.0, 3.0]))
    assert row.score == pytest.approx(2.0)
    assert row.macro_f1 is None


def test_a_squared_error_that_is_not_finite_has_neither_score_nor_interval():
    suite = make_suite("sinusoid-5s", way=1, metric="mse", episodes=2)
    row = row_of(make_result(suite=suite, error=[1.0, float("inf")]))
    assert (row.status, row.score, row.ci95) == ("ok", None, None)


def test_one_episode_has_a_score_without_an_interval():
    row = row_of(make_result(suite=make_suite(episodes=1), correct=[12]))
    assert row.score == pytest.approx(0.8)
    assert row.ci95 is None


def test_times_are_medians_over_the_samples_of_all_seeds():
    results = [
        make_result(seed=0, adapt_s=[0.001, 0.009], predict_s=[0.002], fit_s=10),
        make_result(seed=1, adapt_s=[0.003], predict_s=[0.004, 0.006], fit_s=20),
    ]
    row = row_of(*results)
    assert row.adapt_ms == pytest.approx(1000 * median([0.001, 0.009, 0.003]))
    assert row.predict_ms == pytest.approx(1000 * median([0.002, 0.004, 0.006]))
    assert row.fit_s == pytest.approx(mean([10, 20]))
    assert row.episodes_per_s == pytest.approx(200)
    assert row.cold_ms == pytest.approx(50)
    assert row.adapt_p95_ms == pytest.approx(1000 * np.quantile([0.001, 0.009, 0.003], 0.95))
    assert row.updates_per_s == pytest.approx((50 + 50) / (10 + 20))
    assert row.tasks_per_s == pytest.approx((200 + 200) / (10 + 20))


def test_training_that_was_resumed_has_no_time():
    whole, resumed = make_result(seed=0, fit_s=10), make_result(seed=1, fit_s=99)
    training = replace(resumed.training, resumed=1)
    row = row_of(whole, replace(resumed, training=training))
    assert row.fit_s == pytest.approx(10)
    assert row.updates_per_s == pytest.approx(5)


def test_throughput_is_the_median_over_blocks_whatever_their_size():
    row = row_of(make_result(throughput_s=[0.08, 0.04, 0.02]))  # of 8 episodes each
    assert row.episodes_per_s == pytest.approx(200)


def test_memory_is_that_of_the_phase_and_seed_that_need_most():
    mib = 2**20
    results = [
        make_result(seed=0, peaks=(300 * mib, 250 * mib, 200 * mib)),
        make_result(seed=1, peaks=(None, 350 * mib, 200 * mib)),
    ]
    assert row_of(*results).peak_mib == pytest.approx(350)
    assert row_of(make_result()).peak_mib is None


def test_a_learner_without_meta_training_or_samples_has_unknown_times():
    row = row_of(make_result(fit_s=None, adapt_s=[], predict_s=[]))
    assert (row.fit_s, row.adapt_ms, row.predict_ms) == (None, None, None)


@pytest.mark.parametrize(
    "environment", [make_environment(contended=True), make_environment(cpu="Another CPU")]
)
def test_times_of_contended_cells_and_of_other_machines_are_left_out(environment):
    alone = make_result(seed=0, adapt_s=[0.001])
    other = make_result(seed=1, adapt_s=[0.500], environment=environment)
    assert row_of(alone, other).adapt_ms == pytest.approx(1.0)
    row = row_of(other)
    assert (row.adapt_ms, row.predict_ms, row.episodes_per_s) == (None, None, None)
    assert (row.fit_s, row.cold_ms) == (None, None)
    assert row.score is not None


def test_a_failed_row_has_status_and_reason_on_one_line_and_no_numbers():
    row = row_of(make_result(status="error", reason="ValueError: two\nlines"))
    assert row.status == "error"
    assert row.reason == "error: ValueError: two lines"
    assert (row.score, row.ci95, row.macro_f1, row.adapt_ms) == (None, None, None, None)
    assert (row.seeds, row.episodes) == (0, 0)


def test_the_reason_of_a_failure_comes_before_that_of_an_interruption():
    row = row_of(
        make_result(seed=0, status="interrupted", reason=""),
        make_result(seed=1, status="timeout", reason="after 60 s"),
    )
    assert (row.status, row.reason) == ("timeout", "timeout: after 60 s")


def test_an_interruption_without_a_reason_shows_its_status():
    assert row_of(make_result(status="interrupted", reason="")).reason == "interrupted"


def test_a_row_names_its_algorithm_files_commits_and_training():
    training = Training(way=20, shot=1, query=5, tasks_per_step=4)
    results = [
        make_result("maml", seed=seed, chosen={"inner_lr": 0.4, "first_order": True},
                    training=training, environment=make_environment(commit=commit))
        for seed, commit in enumerate(["bbbbbbbbbb", "aaaaaaaaaa", "bbbbbbbbbb"])
    ]  # fmt: skip
    cells = [
        StoredResult(Path("s") / "maml" / f"{i}.json", result) for i, result in enumerate(results)
    ]
    row = build_row(cells, HERE)
    assert row.address == "maml[inner_lr=0.4,first_order=true]"
    assert row.params == {"bn": "running", "inner_lr": 0.4, "first_order": True}
    assert row.files == ["s/maml/0.json", "s/maml/1.json", "s/maml/2.json"]
    assert row.commit == "aaaaaaa, bbbbbbb"
    assert row.training == training
    assert row.parameters == 111_936


def test_a_row_without_a_commit_has_none():
    assert row_of(make_result(environment=make_environment(commit=None))).commit is None


def test_seeds_share_an_identity_and_nothing_else_does():
    same = {identity(make_result("maml", seed=seed)) for seed in range(3)}
    others = {
        identity(result)
        for result in (
            make_result("maml"),
            make_result("protonet"),
            make_result("maml", chosen={"inner_lr": 0.1}),
            make_result("maml", device="cuda"),
            make_result("maml", suite=make_suite(train_on="glyphs-5w1s")),
        )
    }
    assert len(same) == 1
    assert len(others) == 5


def test_a_rate_that_is_not_finite_is_unknown():
    row = row_of(make_result(throughput_s=[1e-320], fit_s=1e-320))
    assert (row.episodes_per_s, row.updates_per_s, row.tasks_per_s) == (None, None, None)
