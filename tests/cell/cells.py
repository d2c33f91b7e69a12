"""Cells of a small algorithm, for tests."""

from __future__ import annotations

from typing import Any

from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, Configured, configure
from metabench.learner import Algorithm, TrainingEpisodes
from metabench.suites.builtin_suites import SUITES
from metabench.suites.suite import Suite

DIGITS, DIGITS_5SHOT = SUITES[:2]
MAML = Algorithm(
    "maml",
    build="module:attr",
    params={"lr": 0.1, "steps": 5, "bn": "support", "first_order": False},
    training=TrainingEpisodes(shot=2, tasks_per_step=4),
)


def configured(algorithm: Algorithm = MAML, **given: str) -> Configured:
    return configure(algorithm, given, provider="some.py")


def cell(suite: Suite = DIGITS, seed: int = 0, budget: str = "smoke", **more: Any) -> Cell:
    given = more.pop("given", {})
    return Cell(suite, configured(**given), seed, Budget.parse(budget), **more)
