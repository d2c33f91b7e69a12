"""`metabench check NAME`: check that a plugin follows the rules for learners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.cli.output import echo, emit_json
from metabench.errors import NothingToRun, UsageError

if TYPE_CHECKING:
    from metabench.checks.check_names import Outcome
    from metabench.checks.isolated_run import Checked

GOOD, FAILED = 0, 1


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Time limit of one check in seconds.",
)
@common_options("plugins")
@json_option
def check(name: str, time_limit: float, as_json: bool, common: Common) -> int:
    """Check the algorithm NAME, or NAME[param=value], on small synthetic tasks.

    The checks run in a separate process, on the CPU. Each failure shows the problem, its place,
    and what to do. Exit code 1: a check failed.
    """
    from metabench.checks.check_names import LOADING
    from metabench.checks.isolated_run import check_apart

    with closing(check_apart(name, common.sources, time_limit)) as found:
        done = _followed(name, found, show=not as_json, debug=common.debug)
    every = [outcome for _, outcomes in done for outcome in outcomes]
    if as_json:
        _print_json(done)
    else:
        echo(_summary(every))
    early = ("catalogue", LOADING)
    tried = [o for o in every if o.status != "skipped" and o.check not in early]
    if not tried:
        raise NothingToRun(f"no check of {name} could run: {_reason(every)}")
    return FAILED if any(outcome.status == "failed" for outcome in every) else GOOD


def _followed(
    name: str, every: Iterable[Checked | Outcome], *, show: bool, debug: bool
) -> list[tuple[Checked, list[Outcome]]]:
    """Group the outcomes by what is checked; print them as they arrive."""
    from metabench.checks.isolated_run import Checked

    done: list[tuple[Checked, list[Outcome]]] = []
    for found in every:
        if isinstance(found, Checked):
            done.append((found, []))
            if show:
                where = f" ({found.file})" if found.file else ""
                echo(f"{found.address}, {found.kind}{where}")
            continue
        if not done:
            raise UsageError(f"{name}: {found.message} while plugins were loaded")
        done[-1][1].append(found)
        if show:
            _print(found, debug)
    return done


def _reason(every: Sequence[Outcome]) -> str:
    said = [o.message for o in every if o.status == "skipped" and o.message != "not applicable"]
    return said[0] if said else "it supports no kind of task"


def _print(outcome: Outcome, debug: bool) -> None:
    shown = outcome.status.upper() if outcome.status == "failed" else outcome.status
    said = f"  {outcome.message}" if outcome.message else ""
    echo(f"  {outcome.check:<16} {shown:<8} {outcome.seconds:6.2f} s{said}".rstrip())
    if outcome.advice:
        echo(f"  {'':<16} do: {outcome.advice}")
    if outcome.traceback and debug:
        echo(outcome.traceback, nl=False)


def _summary(every: Sequence[Outcome]) -> str:
    """Count the outcomes, such as "2 failed, 17 passed, 1 skipped in 8.1 s"."""
    counts: Counter[str] = Counter(outcome.status for outcome in every)
    order = ("failed", "passed", "noted", "skipped")
    shown = ", ".join(f"{counts[status]} {status}" for status in order if counts[status])
    return f"{shown} in {sum(outcome.seconds for outcome in every):.1f} s"


def _print_json(done: Sequence[tuple[Checked, Sequence[Outcome]]]) -> None:
    content = [
        {
            "algorithm": checked.address,
            "kind": checked.kind,
            "file": checked.file,
            "checks": [outcome._asdict() for outcome in outcomes],
        }
        for checked, outcomes in done
    ]
    emit_json(checked=content)
