from __future__ import annotations

import pytest
from msgspec.structs import replace
from results_factory import make_result, make_suite

from metabench.gating.replay_verdict import agreement
from metabench.results.schema import Calibration

WAVES = make_suite("sinusoid-5s", way=1, shot=5, query=10, metric="mse", episodes=3)


def right(*correct: int):
    return make_result(correct=list(correct))  # 15 queries an episode


def test_equal_outputs_are_equal() -> None:
    assert agreement(right(12, 10), right(12, 10)) == "equal"


def test_equal_outputs_with_other_scores_are_different() -> None:
    old, new = right(12, 10), right(12, 10)
    altered = replace(old, scores=replace(old.scores, correct=[13, 10]))
    assert agreement(altered, new) == "different"


def test_equal_outputs_with_another_f1_or_calibration_are_different() -> None:
    new = right(12, 10)
    assert new.scores is not None
    for fields in ({"f1": [1.0, 1.0]}, {"calibration": Calibration(nll=0.1, brier=0.1, ece=0.0)}):
        scores = replace(new.scores, **fields)
        assert agreement(replace(new, scores=scores), new) == "different", fields


def test_a_file_that_was_changed_agrees_with_nothing() -> None:
    new = right(12, 10)
    assert agreement(replace(new, altered=True), new) == "different"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([10] * 19 + [11], "within tolerance"),  # 1 of 300
        ([10] * 17 + [11, 9, 11], "within tolerance"),  # 3 of 300, although the mean is close
        ([10] * 16 + [11, 9, 11, 9], "different"),  # 4 of 300, although the mean is equal
        ([10] * 19, "different"),
    ],
)
def test_right_answers_are_compared_episode_by_episode(now: list[int], expected: str) -> None:
    assert agreement(right(*[10] * 20), right(*now)) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([1.00005, 2.0001, 3.001], "within tolerance"),
        ([1.0, 2.001, 3.003], "different"),
        ([1.0, 2.0, 300.0], "different"),  # one that is ruined
    ],
)
def test_errors_are_compared_by_their_median_and_mean(now: list[float], expected: str) -> None:
    old = make_result(suite=WAVES, error=[1.0, 2.0, 3.0])
    assert agreement(old, make_result(suite=WAVES, error=now)) == expected


def test_without_scores_nothing_agrees() -> None:
    assert agreement(right(12), make_result(status="error")) == "different"
