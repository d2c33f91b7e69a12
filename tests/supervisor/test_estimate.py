"""The time that a run may take, by earlier results."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from results_factory import make_environment, make_result, make_suite, store_results

from metabench.results.schema import MetaTraining
from metabench.supervisor import prepared_run, run_settings
from metabench.supervisor.estimate import estimate
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Two suites, two algorithms, one of them with a parameter, two seeds."""
    request = Request(
        suites=["digits-5w1s", "digits-5w5s"],
        algorithms=["protonet", "protonet[lr=0.1]"],
        seeds=2,
        results=str(tmp_path_factory.mktemp("results")),
    )
    with PreparedRun(request) as prepared:
        return prepared.planned


def took(seconds, suite="digits-5w1s", **given):
    result = make_result("protonet", suite=make_suite(suite), **given)
    return replace(result, wall_s=seconds, training=None)


def test_nothing_is_known_of_what_never_ran(planned):
    found = estimate(planned, [took(5, budget="paper"), took(5, status="error")], jobs=1)
    assert (found.seconds, found.unknown) == (0, 8)


def test_other_seeds_are_used_first_and_other_suites_next(planned):
    stored = [
        took(10, chosen={"lr": 0.1}),
        took(30, "digits-5w5s", chosen={"lr": 0.1}),
        took(100, "digits-5w5s"),
    ]
    # protonet on 5w1s has never run: the median time per example of the three (20 a task each
    # by the factory), for 80 examples; two seeds of each.
    found = estimate(planned, stored, jobs=1)
    per_example = 30 / 20
    assert (found.seconds, found.unknown) == (2 * (10 + 30 + 100 + per_example * 5 * (1 + 15)), 0)


def test_a_cell_is_not_shared_among_jobs(planned):
    stored = [took(100), took(1, chosen={"lr": 0.1}), took(1, "digits-5w5s", chosen={"lr": 0.1})]
    stored.append(took(2, "digits-5w5s"))
    assert estimate(planned, stored, jobs=2).seconds == 2 * (100 + 1 + 1 + 2) / 2
    assert estimate(planned, stored, jobs=8).seconds == 100


def test_other_datasets_are_not_used(planned):
    found = estimate(planned, [took(5, "sinusoid-5s")], jobs=1)
    assert (found.seconds, found.unknown) == (0, 8)


def test_training_that_was_resumed_counts_whole(planned):
    resumed = took(10)
    training = MetaTraining(
        updates=1, tasks=1, images=1, seconds=50.0, curve=[], selected="last", selected_update=1
    )
    found = estimate(planned, [replace(resumed, training=training)], jobs=1)
    assert found.seconds == estimate(planned, [took(50)], jobs=1).seconds


def test_what_does_not_apply_is_known_to_take_no_time(planned):
    found = estimate(planned, [took(0, status="not_applicable")], jobs=1)
    assert (found.seconds, found.unknown) == (0, 6)


def test_updates_by_more_tasks_are_not_used(planned):
    found = estimate(planned, [took(5, chosen={"tasks_per_step": 9})], jobs=1)
    assert (found.seconds, found.unknown) == (0, 8)


def test_cells_side_by_side_share_the_time(planned):
    alone, shared = (estimate(planned, [took(10)], jobs=jobs).seconds for jobs in (1, 2))
    assert shared == alone / 2


def test_results_of_more_threads_take_longer_with_fewer(planned):
    stored = [took(10, environment=make_environment(threads=4))]
    once = estimate(planned, stored, jobs=1).seconds
    assert estimate(planned, stored, jobs=1, threads=1).seconds == 4 * once
    assert estimate(planned, stored, jobs=1, threads=8).seconds == once


def test_jobs_that_share_the_cores_promise_no_more_than_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(run_settings, "cores", lambda: 2)
    monkeypatch.setattr(prepared_run, "cores", lambda: 2)
    store_results(tmp_path, [took(10, environment=make_environment(threads=2))])

    def expected(jobs: int) -> float:
        request = Request(["digits-5w1s"], ["protonet"], seeds=9, jobs=jobs, results=str(tmp_path))
        with PreparedRun(request) as prepared:
            return prepared.estimate().seconds

    assert expected(64) == expected(2) == expected(1) > 0
