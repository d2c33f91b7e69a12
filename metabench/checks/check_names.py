"""The names of the checks, in their order, and what each says; known without torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

CheckStatus = Literal["passed", "failed", "skipped", "noted"]

NAMES = (
    *("catalogue", "build", "shapes", "inputs", "globals", "deterministic", "repeatable"),
    *("query-order", "one-query", "one-task", "label-order", "learns", "support-matters"),
    *("learnables", "gradient", "round-trip", "memory", "devices", "relabelling"),
)
FIRST = ("catalogue", "build", "shapes")  # without these there is nothing to check


class Outcome(NamedTuple):
    """What one check found."""

    check: str
    status: CheckStatus
    message: str = ""
    advice: str = ""
    traceback: str = ""
    seconds: float = 0.0
