"""The built-in algorithms are as good as their baselines, by the project's own gate.

After an intended change of scores: pytest tests/test_accuracy.py --update-baselines
"""

from __future__ import annotations

import pytest

from metabench.gating.accuracy_fixture import AccuracyGate
from metabench_plugins import metabench_algorithms

EVERY_BUILTIN = sorted(algorithm.name for algorithm in metabench_algorithms())

CASES = [
    *((name, "digits-5w1s") for name in EVERY_BUILTIN),
    *((name, "glyphs-5w1s") for name in ("pca-lr", "pixel-1nn")),
    *((name, "sinusoid-5s") for name in ("chance", "maml", "pretrained")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "suite"), CASES)
def test_scores_are_what_they_were(accuracy_gate: AccuracyGate, algorithm: str, suite: str) -> None:
    accuracy_gate(algorithm, suite=suite, margin="2pp" if suite != "sinusoid-5s" else "5%")
