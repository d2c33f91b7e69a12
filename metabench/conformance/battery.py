"""All checks in their order: a learner that fails one may fail later ones for the same reason."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from time import perf_counter
from typing import Literal, NamedTuple

from metabench.conformance import behaviour, form, surroundings, training
from metabench.conformance.subject import CheckFailed, NotChecked, Noted, Subject
from metabench.errors import NotApplicable

Status = Literal["passed", "failed", "skipped", "noted"]

CHECKS: dict[str, Callable[[Subject], None]] = {
    "catalogue": form.catalogue,
    "build": form.build,
    "shapes": form.shapes,
    "inputs": form.inputs,
    "globals": form.global_state,
    "deterministic": behaviour.deterministic,
    "repeatable": behaviour.repeatable,
    "query-order": behaviour.query_order,
    "one-query": behaviour.one_query,
    "one-task": behaviour.one_task,
    "label-order": behaviour.label_order,
    "learns": behaviour.learns,
    "support-matters": behaviour.support_matters,
    "learnables": training.learnables,
    "gradient": training.gradient,
    "round-trip": training.round_trip,
    "memory": training.memory,
    "devices": form.devices,
    "relabelling": behaviour.relabelling,
}
_FIRST = ("catalogue", "build", "shapes")  # without these there is nothing to check


class Outcome(NamedTuple):
    """What one check found."""

    check: str
    status: Status
    message: str = ""
    advice: str = ""
    traceback: str = ""
    seconds: float = 0.0


def run_check(name: str, subject: Subject) -> Outcome:
    """Run one check; whatever the plugin raises is a failure of it."""
    started = perf_counter()

    def outcome(status: Status, message: str = "", advice: str = "", trace: str = "") -> Outcome:
        return Outcome(name, status, message, advice, trace, perf_counter() - started)

    try:
        # What one check leaves behind must not mislead the next, nor what it prints a reader.
        with surroundings.watched(), redirect_stdout(sys.stderr):
            CHECKS[name](subject)
    except CheckFailed as failed:
        return outcome("failed", str(failed), failed.advice)
    except (NotChecked, NotApplicable) as reason:
        return outcome("skipped", str(reason))
    except Noted as note:
        return outcome("noted", str(note))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return outcome(
            "failed",
            f"it raised {said}",
            f"look at {where.filename}, line {where.lineno}",
            "".join(traceback.format_exception(error)),
        )
    return outcome("passed")


def run_battery(subject: Subject) -> Iterator[Outcome]:
    """Every check, in order; without a learner that can be asked the rest are not tried."""
    broken = ""
    for name in CHECKS:
        if broken:
            yield Outcome(name, "skipped", broken)
            continue
        found = run_check(name, subject)
        if found.status in ("failed", "skipped") and name in _FIRST:
            broken = f"{name} failed" if found.status == "failed" else "not applicable"
        yield found
