"""The battery: all checks, in an order in which early failures can explain later ones."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter

import torch

from metabench.checks.check_names import CHECKS, FIRST, CheckStatus, Outcome
from metabench.checks.checked_algorithm import CheckFailed, NotChecked, Noted, Subject
from metabench.errors import MetabenchError, NotApplicable
from metabench.learner import load
from metabench.plugins.process_state import put_back, settings_and_generators
from metabench.text import shortened
from metabench.worker.session import failure

CAUGHT = (Exception, SystemExit)
_MAX_MESSAGE = 1000  # characters; a plugin's text may have any length


def run_check(
    name: str, subject: Subject, caught: tuple[type[BaseException], ...] = CAUGHT
) -> Outcome:
    """Run one check; exceptions of these types that the plugin raises are failures."""
    check = load(f"metabench.checks.{CHECKS[name]}")
    started = perf_counter()

    def outcome(
        status: CheckStatus, message: str = "", advice: str = "", trace: str = ""
    ) -> Outcome:
        message = shortened(message, _MAX_MESSAGE)
        return Outcome(name, status, message, advice, trace, perf_counter() - started)

    try:
        with put_back(settings_and_generators):  # changed settings must not affect the next check
            torch.set_num_threads(1)  # more threads would not help networks this small
            check(subject)
    except CheckFailed as failed:
        return outcome("failed", str(failed), failed.advice)
    except (NotChecked, NotApplicable) as reason:
        return outcome("skipped", str(reason))
    except Noted as note:
        return outcome("noted", str(note))
    except caught as error:
        raised, line = failure(error), _own_line(error, subject)
        said = f"it raised {raised.reason}"
        if isinstance(error, MetabenchError) and not line:  # raised by metabench itself
            said = str(error)
        advice = f"look at {line or subject.place}"
        return outcome("failed", " ".join(said.split()), advice, raised.traceback)
    return outcome("passed")


def _own_line(error: BaseException, subject: Subject) -> str:
    """Return the last line of the plugin that an exception passed through.

    It is in the plugin's file, otherwise in another file of that folder. "" without one, because
    lines of metabench do not help the author.
    """
    home = subject.file
    if home is None:
        return ""
    frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if frame[0] == home]
    nearby = [frame for frame in frames if frame[0].parent == home.parent]
    for file, line in reversed(own or nearby):
        return f"{file}, line {line}"
    return ""


def run_battery(
    subject: Subject,
    names: Iterable[str] = CHECKS,
    caught: tuple[type[BaseException], ...] = CAUGHT,
) -> Iterator[Outcome]:
    """Run checks, in order; skip the rest if no learner can be built."""
    broken = ""
    for name in names:
        if broken:
            yield Outcome(name, "skipped", broken)
            continue
        found = run_check(name, subject, caught)
        if found.status in ("failed", "skipped") and name in FIRST:
            broken = f"{name} failed" if found.status == "failed" else "not applicable"
        yield found
