"""Outputs become scores as scikit-learn would score each episode."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from metabench.cell.scores import (
    NO_CLASS,
    correct_counts,
    macro_f1,
    predicted_classes,
    squared_errors,
)


def drawn_ids(rng, episodes, queries, low, way):
    return rng.integers(low, way, size=(episodes, queries))


def reference_f1(predicted, truth, way):
    return [
        f1_score(t, p, labels=range(way), average="macro", zero_division=0)
        for p, t in zip(predicted, truth, strict=True)
    ]


@pytest.mark.parametrize(("way", "queries"), [(2, 1), (2, 30), (5, 75), (20, 20)])
@pytest.mark.parametrize("low", [0, NO_CLASS])
def test_macro_f1_equals_scikit_learn_per_episode(way, queries, low):
    rng = np.random.default_rng(way * queries)
    truth = drawn_ids(rng, 40, queries, 0, way)
    predicted = np.where(
        rng.random(truth.shape) < 0.6, truth, drawn_ids(rng, 40, queries, low, way)
    )
    np.testing.assert_allclose(
        macro_f1(predicted, truth, way), reference_f1(predicted, truth, way), rtol=0, atol=1e-12
    )


def test_macro_f1_equals_scikit_learn_without_labels_when_every_class_is_asked_for():
    rng = np.random.default_rng(0)
    truth = np.stack([rng.permutation(np.repeat(np.arange(5), 3)) for _ in range(50)])
    predicted = drawn_ids(rng, 50, 15, 0, 5)
    expected = [
        f1_score(t, p, average="macro", zero_division=0)
        for p, t in zip(predicted, truth, strict=True)
    ]
    np.testing.assert_allclose(macro_f1(predicted, truth, 5), expected, rtol=0, atol=1e-12)


def test_macro_f1_is_one_for_right_answers_and_zero_for_none():
    truth = np.array([[0, 1, 2, 0, 1, 2]])
    assert macro_f1(truth, truth, 3) == pytest.approx([1.0])
    assert macro_f1(np.full_like(truth, NO_CLASS), truth, 3) == pytest.approx([0.0])


def test_macro_f1_of_no_episodes_is_empty():
    empty = np.empty((0, 15), dtype=np.int64)
    assert macro_f1(empty, empty, 5).shape == (0,)


def test_correct_counts_count_each_episode_alone():
    truth = np.array([[0, 1, 2], [2, 2, 0]])
    predicted = np.array([[0, 1, 2], [2, 0, NO_CLASS]])
    assert correct_counts(predicted, truth).tolist() == [3, 1]


def test_a_tie_goes_to_the_lowest_id():
    logits = np.array([[0.0, 0.0, 0.0], [1.0, 3.0, 3.0], [2.0, 1.0, 2.0]], dtype=np.float32)
    assert predicted_classes(logits).tolist() == [0, 1, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_query_with_a_logit_that_is_not_finite_is_wrong_whatever_the_truth(bad):
    logits = np.array([[[bad, 1.0, 0.0], [5.0, 1.0, 0.0]]], dtype=np.float32)
    predicted = predicted_classes(logits)
    assert predicted.tolist() == [[NO_CLASS, 0]]
    for truth in range(3):
        assert correct_counts(predicted, np.array([[truth, 0]])).tolist() == [1]


def test_leading_dimensions_of_logits_are_kept():
    assert predicted_classes(np.zeros((4, 3, 15, 5))).shape == (4, 3, 15)


def test_squared_errors_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    values, truth = rng.normal(size=(2, 4, 7, 1))
    expected = [((v - t) ** 2).mean() for v, t in zip(values, truth, strict=True)]
    assert np.allclose(squared_errors(values, truth), expected)
    with pytest.raises(ValueError, match=r"values \(4, 7, 1\), truth \(4, 7\)"):
        squared_errors(values, truth[..., 0])
