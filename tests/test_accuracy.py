"""The built-in algorithms are as good as their baselines, by the project's own gate.

After an intended change of scores: pytest tests/test_accuracy.py --update-baselines
"""

from __future__ import annotations

import pytest

from metabench.gating.accuracy_fixture import AccuracyGate
from metabench_plugins import metabench_algorithms

EVERY_BUILTIN = {algorithm.name for algorithm in metabench_algorithms()}
# Digits have few base classes: with other rounding, as on another processor, one seed of these
# scores up to 14 points more or less there. On glyphs it is one point at most.
SENSITIVE = {"protonet", "meta-sgd"}

CASES = [
    *((name, "digits-5w1s", "2pp") for name in sorted(EVERY_BUILTIN - SENSITIVE)),
    *((name, "glyphs-5w1s", "2pp") for name in ("pca-lr", "pixel-1nn", "protonet")),
    ("meta-sgd", "glyphs-5w1s", "5pp"),
    *((name, "sinusoid-5s", "5%") for name in ("chance", "maml", "pretrained")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "suite", "margin"), CASES)
def test_scores_are_what_they_were(
    accuracy_gate: AccuracyGate, algorithm: str, suite: str, margin: str
) -> None:
    accuracy_gate(algorithm, suite=suite, margin=margin)


def test_every_built_in_algorithm_has_a_baseline() -> None:
    assert {name for name, _, _ in CASES} == EVERY_BUILTIN
