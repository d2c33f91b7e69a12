"""Calibration equals scikit-learn's scores and the definition of ECE, written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from metabench.cell.calibration import BINS, CalibrationTally


def some(way: int, scale: float, episodes: int = 30, queries: int = 20):
    rng = np.random.default_rng(way)
    logits = (scale * rng.standard_normal((episodes, queries, way))).astype(np.float32)
    truth = np.where(
        rng.random((episodes, queries)) < 0.5,
        logits.argmax(axis=-1),
        rng.integers(0, way, (episodes, queries)),
    )
    return logits, truth


def tallied(logits, truth, parts: int = 1):
    tally = CalibrationTally()
    for one, other in zip(np.array_split(logits, parts), np.array_split(truth, parts), strict=True):
        tally.add(one, other)
    return tally.result()


def reference_ece(p, truth) -> float:
    """Guo et al., equation 3: bins are open below and closed above."""
    total = 0.0
    confidence, right = p.max(axis=-1), p.argmax(axis=-1) == truth
    for m in range(1, BINS + 1):
        inside = (confidence > (m - 1) / BINS) & (confidence <= m / BINS)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.sum() / len(p) * gap
    return total


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("way", [2, 5, 20])
def test_it_equals_the_references(way: int, scale: float) -> None:
    logits, truth = some(way, scale)
    found = tallied(logits, truth)
    assert found is not None
    p = softmax(logits.astype(np.float64), axis=-1).reshape(-1, way)
    labels = truth.ravel()
    if scale < 40:  # scikit-learn clips probabilities
        assert found.nll == pytest.approx(log_loss(labels, p, labels=range(way)), rel=1e-5)
    brier = ((p - np.eye(way)[labels]) ** 2).sum(axis=-1).mean()
    assert found.brier == pytest.approx(brier, rel=1e-5)
    assert found.ece == pytest.approx(reference_ece(p, labels), rel=1e-5, abs=1e-9)


def test_batches_do_not_matter() -> None:
    logits, truth = some(5, 2.0)
    assert tallied(logits, truth) == tallied(logits, truth, parts=7)


def test_one_who_is_sure_and_right_has_no_error_at_all() -> None:
    truth = np.tile(np.arange(5), (3, 2))
    sure = np.where(np.eye(5)[truth] > 0, 1e4, -1e4).astype(np.float32)
    found = tallied(sure, truth)
    assert (found.nll, found.brier, found.ece) == (0.0, 0.0, 0.0)
    wrong = tallied(sure, (truth + 1) % 5)
    assert (wrong.nll, wrong.brier, wrong.ece) == (2e4, 2.0, 1.0)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_not_finite_has_no_probability(odd: float) -> None:
    logits, truth = some(5, 1.0)
    logits[3, 4, 2] = odd
    assert tallied(logits, truth, parts=5) is None
