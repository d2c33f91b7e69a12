"""How much samples of one quantity spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relative_spread(samples: Sequence[float]) -> float:
    """Interquartile range / median; 0 where the median is."""
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75))
    return float((high - low) / median) if median else 0.0
