"""All checks in their order: a learner that fails one may fail later ones for the same reason."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter

import torch

from metabench.conformance import behaviour, form, surroundings, training
from metabench.conformance.names import FIRST, Outcome, Status
from metabench.conformance.subject import CheckFailed, NotChecked, Noted, Subject
from metabench.errors import NotApplicable
from metabench.harness.session import failure

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


def run_check(name: str, subject: Subject) -> Outcome:
    """Run one check; whatever the plugin raises is a failure of it."""
    started = perf_counter()

    def outcome(status: Status, message: str = "", advice: str = "", trace: str = "") -> Outcome:
        return Outcome(name, status, message, advice, trace, perf_counter() - started)

    try:
        # What one check leaves behind must not mislead the next, nor what it prints a reader.
        with surroundings.watched(), redirect_stdout(sys.stderr):
            torch.set_num_threads(1)  # networks this small are not worth sharing
            CHECKS[name](subject)
    except CheckFailed as failed:
        return outcome("failed", str(failed), failed.advice)
    except (NotChecked, NotApplicable) as reason:
        return outcome("skipped", str(reason))
    except Noted as note:
        return outcome("noted", str(note))
    except (Exception, SystemExit) as error:
        raised = failure(error)
        said = " ".join(raised.reason.split())
        advice = f"look at {_where(error, subject)}"
        return outcome("failed", f"it raised {said}", advice, raised.traceback)
    return outcome("passed")


def _where(error: BaseException, subject: Subject) -> str:
    """The last line of the plugin's own file that an exception came through, else the last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if subject.file and Path(frame.filename) == subject.file]
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


def run_battery(subject: Subject) -> Iterator[Outcome]:
    """Every check, in order; without a learner that can be asked the rest are not tried."""
    broken = ""
    for name in CHECKS:
        if broken:
            yield Outcome(name, "skipped", broken)
            continue
        found = run_check(name, subject)
        if found.status in ("failed", "skipped") and name in FIRST:
            broken = f"{name} failed" if found.status == "failed" else "not applicable"
        yield found
