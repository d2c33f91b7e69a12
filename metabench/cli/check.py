"""`metabench check NAME`: hold a plugin against what every learner must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from metabench.cli.options import Common, common_options, json_option

if TYPE_CHECKING:
    from metabench.conformance.battery import Outcome
    from metabench.conformance.subject import Subject

GOOD, FAILED = 0, 1


@click.command()
@click.argument("name", metavar="NAME")
@common_options("plugins")
@json_option
def check(name: str, as_json: bool, common: Common) -> int:
    """Check the algorithm NAME, or NAME[param=value], on small synthetic tasks.

    It runs in this process, on the CPU. Exit code 1: a check failed; each failure says what is
    wrong, where, and what to do.
    """
    import torch

    from metabench.conformance.battery import run_battery
    from metabench.conformance.subjects import find_subjects
    from metabench.plugins import load_plugins

    plugins = load_plugins(common.doors)
    common.warn(plugins.warnings)
    torch.set_num_threads(1)  # networks this small are not worth sharing
    done: list[tuple[Subject, list[Outcome]]] = []
    for subject in find_subjects(name, plugins):
        if not as_json:
            where = f" ({subject.file})" if subject.file else ""
            click.echo(f"{subject.configured.address}, {subject.kind}{where}")
        outcomes = []
        for outcome in run_battery(subject):
            outcomes.append(outcome)
            if not as_json:
                _print(outcome, common.debug)
        done.append((subject, outcomes))
    every = [outcome for _, outcomes in done for outcome in outcomes]
    if as_json:
        _print_json(done)
    else:
        click.echo(_summary(every))
    return FAILED if any(outcome.status == "failed" for outcome in every) else GOOD


def _print(outcome: Outcome, debug: bool) -> None:
    shown = outcome.status.upper() if outcome.status == "failed" else outcome.status
    said = f"  {outcome.message}" if outcome.message else ""
    click.echo(f"  {outcome.check:<16} {shown:<8} {outcome.seconds:6.2f} s{said}".rstrip())
    if outcome.advice:
        click.echo(f"  {'':<16} do: {outcome.advice}")
    if outcome.traceback and debug:
        click.echo(outcome.traceback, nl=False)


def _summary(every: Sequence[Outcome]) -> str:
    """2 failed, 17 passed, 1 skipped in 8.1 s"""
    counts: Counter[str] = Counter(outcome.status for outcome in every)
    order = ("failed", "passed", "noted", "skipped")
    shown = ", ".join(f"{counts[status]} {status}" for status in order if counts[status])
    return f"{shown} in {sum(outcome.seconds for outcome in every):.1f} s"


def _print_json(done: Sequence[tuple[Subject, Sequence[Outcome]]]) -> None:
    import json

    checked = [
        {
            "algorithm": subject.configured.address,
            "kind": subject.kind,
            "file": str(subject.file or ""),
            "checks": [outcome._asdict() for outcome in outcomes],
        }
        for subject, outcomes in done
    ]
    click.echo(json.dumps({"schema": 1, "checked": checked}, indent=2))
