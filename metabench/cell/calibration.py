"""Calibration of a learner's probabilities, the softmax of its logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from metabench.cell.scores import predicted_classes
from metabench.results.schema import Calibration

BINS = 15


class CalibrationTally:
    """Calibration measures summed over all queries of a cell, each with the same weight.

    - NLL, the negative log-likelihood: mean of -log p(true class), in nats.
    - Brier score: mean of the sum over classes of (p - 1[true class])^2, from 0 to 2.
    - ECE, the expected calibration error: queries fall into 15 bins of equal width by the
      probability of the predicted class; the mean over queries of |accuracy - mean probability|
      of their bin.

    References:
        Brier (1950), Monthly Weather Review 78, 1-3 (the multi-class form);
        Guo et al. (2017), On Calibration of Modern Neural Networks, ICML, equations 3 and 6.
    """

    def __init__(self) -> None:
        self._queries = 0
        self._nll = self._brier = 0.0
        self._gaps = np.zeros(BINS)  # right answers minus probabilities, summed by bin
        self._finite = True

    def add(self, logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> None:
        """Add the logits [T, Q, way] of queries with true classes [T, Q]."""
        self._finite = self._finite and bool(np.isfinite(logits).all())
        if not self._finite:
            return
        log_p = log_softmax(logits.astype(np.float64), axis=-1)
        p, true = np.exp(log_p), truth[..., None]
        self._queries += truth.size
        self._nll -= float(np.take_along_axis(log_p, true, axis=-1).sum())
        # sum_k (p_k - 1[k = y])^2 = sum_k p_k^2 - 2 p_y + 1
        p_true = np.take_along_axis(p, true, axis=-1)
        self._brier += float((p**2).sum() - 2 * p_true.sum() + truth.size)
        predicted = predicted_classes(logits)
        confidence = np.take_along_axis(p, predicted[..., None], axis=-1).ravel()
        # Bins are open below and closed above: a probability of 1 is in the last.
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        right = (predicted == truth).ravel()
        self._gaps += np.bincount(bins, weights=right - confidence, minlength=BINS)

    def result(self) -> Calibration | None:
        """Return the three measures; None if a logit was not finite, or nothing was added."""
        n = self._queries
        if not self._finite or n == 0:
            return None
        ece = float(np.abs(self._gaps).sum()) / n
        return Calibration(
            nll=_rounded(self._nll / n), brier=_rounded(self._brier / n), ece=_rounded(ece)
        )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")  # float32 logits have no more digits
