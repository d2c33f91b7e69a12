"""All checks in their order: a learner that fails one may fail later ones for the same reason."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter

import torch

from metabench.checks import behaviour, form, process_state, training_checks
from metabench.checks.check_names import FIRST, CheckStatus, Outcome
from metabench.checks.checked_algorithm import CheckFailed, NotChecked, Noted, Subject
from metabench.errors import MetabenchError, NotApplicable
from metabench.worker.session import failure

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
    "learnables": training_checks.learnables,
    "gradient": training_checks.gradient,
    "round-trip": training_checks.round_trip,
    "memory": training_checks.memory,
    "devices": form.devices,
    "relabelling": behaviour.relabelling,
}


def run_check(name: str, subject: Subject) -> Outcome:
    """Run one check; whatever the plugin raises is a failure of it."""
    started = perf_counter()

    def outcome(
        status: CheckStatus, message: str = "", advice: str = "", trace: str = ""
    ) -> Outcome:
        return Outcome(name, status, message, advice, trace, perf_counter() - started)

    try:
        # What one check leaves behind must not mislead the next, nor what it prints a reader.
        with process_state.watched(), redirect_stdout(sys.stderr):
            torch.set_num_threads(1)  # networks this small are not worth sharing
            CHECKS[name](subject)
    except CheckFailed as failed:
        return outcome("failed", str(failed), failed.advice)
    except (NotChecked, NotApplicable) as reason:
        return outcome("skipped", str(reason))
    except Noted as note:
        return outcome("noted", str(note))
    except (Exception, SystemExit) as error:
        raised, line = failure(error), _own_line(error, subject)
        said = f"it raised {raised.reason}"
        if isinstance(error, MetabenchError) and not line:  # of what a plugin gave, not from it
            said = str(error)
        advice = f"look at {line or subject.place}"
        return outcome("failed", " ".join(said.split()), advice, raised.traceback)
    return outcome("passed")


def _own_line(error: BaseException, subject: Subject) -> str:
    """The last line of the plugin's file that an exception came through, or of a file beside it.

    "" without one: to its author the lines of metabench say nothing.
    """
    home = subject.file
    if home is None:
        return ""
    frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if frame[0] == home]
    beside = [frame for frame in frames if frame[0].parent == home.parent]
    for file, line in reversed(own or beside):
        return f"{file}, line {line}"
    return ""


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
