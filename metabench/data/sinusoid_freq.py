"""Sinusoids of random amplitude, frequency and phase: the regression tasks of Meta-SGD."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from metabench.data.dataset import Dataset
from metabench.data.declared import DatasetSpec
from metabench.data.functions import Values, draw_family

SPEC: DatasetSpec = {
    "what": "y = A sin(frequency x + phase): frequency from 0.8 to 1.2, the rest as in `sinusoid`",
    "shape": (1,),
    "classes": (20000, 1000, 5000),
    "source": "the tasks of Meta-SGD, Li et al. 2017, section 4.1 (arXiv:1707.09835)",
    "suites": {
        "sinusoid-freq-5s": {"way": 1, "shot": 5, "query": 100, "metric": "mse"},
        "sinusoid-freq-10s": {"way": 1, "shot": 10, "query": 100, "metric": "mse"},
        "sinusoid-freq-20s": {"way": 1, "shot": 20, "query": 100, "metric": "mse"},
    },
}


@cache  # drawn once per process, not once per suite
def load(root: Path) -> Dataset:
    """Draw y = A sin(frequency x + phase); x from -5 to 5.

    A from 0.1 to 5, frequency from 0.8 to 1.2, phase from 0 to pi.

    References: Li et al. 2017, section 4.1 (arXiv:1707.09835).

    Args:
        root: not used, because nothing is read or kept.
    """
    ranges = {"amplitude": (0.1, 5.0), "frequency": (0.8, 1.2), "phase": (0.0, np.pi)}
    return draw_family("sinusoid-freq", _sinusoid, ranges, x_range=(-5.0, 5.0))


def _sinusoid(x: Values, amplitude: Values, frequency: Values, phase: Values) -> Values:
    return amplitude * np.sin(frequency * x + phase)
