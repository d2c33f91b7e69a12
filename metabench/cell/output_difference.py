"""Differences between two answers to the same queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

OutputArray = npt.NDArray[Any]


def deviations(one: OutputArray, other: OutputArray, every: OutputArray) -> npt.NDArray[np.float64]:
    """Return the difference of two answers for each query, in units of the outputs' spread.

    A constant added to all classes of a query changes no probability, so it does not count.

    Args:
        one: [..., Q, way] logits or [..., Q, 1] values.
        other: likewise.
        every: outputs [..., way] whose spread is the unit: the median over queries of the range
            of their logits, or the interquartile range of all values.
    """
    a, b, all_own = (_plain(x) for x in (one, other, every))
    if all_own.shape[-1] == 1:
        spread = float(np.subtract(*np.quantile(all_own, (0.75, 0.25))))
    else:
        spread = float(np.median(np.ptp(all_own, axis=-1)))
    largest: npt.NDArray[np.float64] = np.abs(a - b).max(axis=-1) / (spread or 1.0)
    return largest


def flipped(
    one: OutputArray, other: OutputArray, moved: npt.NDArray[np.float64], tolerance: float
) -> npt.NDArray[np.bool_]:
    """Return which queries change class, of those whose outputs moved beyond a tolerance.

    If classes are tied up to the last digits, either may come first: that is not a change.
    """
    others: npt.NDArray[np.bool_] = one.argmax(axis=-1) != other.argmax(axis=-1)
    return others & (moved > tolerance)


def _plain(outputs: OutputArray) -> npt.NDArray[np.float64]:
    """Replace numbers that are not finite, and centre logits on their median."""
    values = np.nan_to_num(outputs.astype(np.float64), nan=1e30, posinf=1e30, neginf=-1e30)
    return values if values.shape[-1] == 1 else values - np.median(values, axis=-1, keepdims=True)
