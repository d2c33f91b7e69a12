"""Sinusoids of random amplitude and phase: the regression tasks of MAML."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from metabench.data.dataset import Dataset
from metabench.data.declared import DatasetSpec
from metabench.data.functions import Values, draw_family

SPEC: DatasetSpec = {
    "what": (
        "y = A sin(x - phase): 26,000 functions with 128 points each; A from 0.1 to 5, "
        "phase from 0 to pi, x from -5 to 5"
    ),
    "shape": (1,),
    "classes": (20000, 1000, 5000),
    "source": "the regression tasks of MAML, Finn et al. 2017, section 5.1 (arXiv:1703.03400)",
    "suites": {
        "sinusoid-5s": {"way": 1, "shot": 5, "query": 100, "metric": "mse"},
        "sinusoid-10s": {"way": 1, "shot": 10, "query": 100, "metric": "mse"},
    },
}


@cache  # drawn once per process, not once per suite
def load(root: Path) -> Dataset:
    """Draw y = A sin(x - phase); A from 0.1 to 5, phase from 0 to pi, x from -5 to 5.

    References: Finn, Abbeel and Levine 2017, section 5.1 (arXiv:1703.03400). The sign of the phase
    is that of the code published with it.

    Args:
        root: not used, because nothing is read or kept.
    """
    ranges = {"amplitude": (0.1, 5.0), "phase": (0.0, np.pi)}
    return draw_family("sinusoid", _sinusoid, ranges, x_range=(-5.0, 5.0))


def _sinusoid(x: Values, amplitude: Values, phase: Values) -> Values:
    return amplitude * np.sin(x - phase)
