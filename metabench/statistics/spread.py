"""The spread of samples of one quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relative_spread(samples: Sequence[float]) -> float:
    """Return the interquartile range divided by the median; 0 if the median is 0."""
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75))
    return float((high - low) / median) if median else 0.0
