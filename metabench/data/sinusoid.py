"""Sinusoids of random amplitude and phase: the regression tasks of MAML."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from metabench.data.dataset import Dataset
from metabench.data.functions import Values, draw_family


@cache  # drawn once a process, not once a suite
def load(root: Path) -> Dataset:
    """y = A sin(x - phase); A from 0.1 to 5, phase from 0 to pi, x from -5 to 5.

    Source: Finn, Abbeel and Levine 2017, section 5.1 (arXiv:1703.03400); the sign of the phase
    as in the code published with it.

    Args:
        root: not used, nothing is read or kept.
    """
    ranges = {"amplitude": (0.1, 5.0), "phase": (0.0, np.pi)}
    return draw_family("sinusoid", _sinusoid, ranges, x_range=(-5.0, 5.0))


def _sinusoid(x: Values, amplitude: Values, phase: Values) -> Values:
    return amplitude * np.sin(x - phase)
