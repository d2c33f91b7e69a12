from __future__ import annotations

import pytest

from metabench.gating.duel_ratios import PhaseRatio
from metabench.gating.speed_verdict import speed_verdict


def phase(name: str, ci95: tuple[float, float] | None) -> PhaseRatio:
    ratio = None if ci95 is None else (ci95[0] * ci95[1]) ** 0.5
    return PhaseRatio(phase=name, a_s=0.001, b_s=0.001, ratio=ratio, ci95=ci95)


def test_a_phase_that_there_was_not_fails() -> None:
    new = PhaseRatio(phase="meta-training", a_s=600.0, b_s=None)
    assert speed_verdict([phase("adapt", (0.9, 1.0)), new], 0.1) == (
        "fail",
        "the older version has no such phase: meta-training",
    )
    gone = PhaseRatio(phase="meta-training", a_s=None, b_s=600.0)
    assert speed_verdict([phase("adapt", (0.9, 1.0)), gone], 0.1)[0] == "pass"


@pytest.mark.parametrize(
    ("adapt", "predict", "verdict"),
    [
        ((0.95, 1.05), (0.5, 0.6), "pass"),
        ((0.95, 1.09), (1.01, 1.1), "pass"),  # slower, but within the margin
        ((0.95, 1.11), (0.9, 1.0), "inconclusive"),
        ((1.11, 1.2), (0.9, 1.0), "fail"),
        ((1.11, 1.2), (0.9, 1.2), "fail"),
        ((0.9, 1.0), None, "pass"),
        (None, None, "inconclusive"),
    ],
)
def test_verdicts(adapt, predict, verdict: str) -> None:
    found, why = speed_verdict([phase("adapt", adapt), phase("predict", predict)], 0.1)
    assert found == verdict
    assert ("adapt" in why) == (found != "pass" and adapt is not None)
    assert ("no phase could be compared" in why) == (adapt is None)
