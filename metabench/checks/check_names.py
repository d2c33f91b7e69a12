"""The checks in their order, and the outcome of one. This file imports no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

CheckStatus = Literal["passed", "failed", "skipped", "noted"]

# The function of each check, as "module:function" in this package.
CHECKS = {
    "catalogue": "form:catalogue",
    "build": "form:build",
    "shapes": "form:shapes",
    "inputs": "form:inputs",
    "globals": "form:global_state",
    "deterministic": "behaviour:deterministic",
    "repeatable": "behaviour:repeatable",
    "query-order": "behaviour:query_order",
    "one-query": "behaviour:one_query",
    "one-task": "behaviour:one_task",
    "label-order": "behaviour:label_order",
    "learns": "behaviour:learns",
    "support-matters": "behaviour:support_matters",
    "learnables": "training_checks:learnables",
    "gradient": "training_checks:gradient",
    "round-trip": "training_checks:round_trip",
    "memory": "training_checks:memory",
    "devices": "form:devices",
    "relabelling": "behaviour:relabelling",
}
LOADING = "loading"  # of the plugins; no check of the algorithm
FIRST = ("catalogue", "build", "shapes")  # the others need what these check


class Outcome(NamedTuple):
    """The outcome of one check."""

    check: str
    status: CheckStatus
    message: str = ""
    advice: str = ""
    traceback: str = ""
    seconds: float = 0.0
