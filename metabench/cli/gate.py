"""`metabench gate --baseline DIR`: test accuracy, and optionally speed, against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.cli.output import echo, emit_json
from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.gating.gate_result import Gated
    from metabench.gating.speed_verdict import SpeedGated
    from metabench.results.schema import Result

PASSED, FAILED, INCONCLUSIVE = 0, 1, 3
# Options of `bench.toml` that the gate ignores: the baseline decides these ...
_OF_BASELINE = frozenset({"suites", "algorithms", "seeds", "budget", "device", "train_on"})
# ... and these are for `run` only.
_OF_RUN = frozenset({"shard", "results", "blocks", "keep_checkpoints"})


@click.command()
@click.option("--baseline", type=Path, required=True, metavar="DIR", help="Results folder.")
@click.option(
    "-s", "--suite", "suites", multiple=True, metavar="SUITE", help="Name, glob or address."
)
@click.option(
    "-a", "--algorithm", "algorithms", multiple=True, metavar="ALGO", help="Name, glob or address."
)
@click.option("--margin", metavar="0.5pp", help="Accepted loss: points, or 5% of the score.")
@click.option("--frozen", is_flag=True, help="Train nothing: use the baseline's checkpoints.")
@click.option("--speed-margin", metavar="10%", help="Accepted slowdown against --base.")
@click.option("--base", metavar="REV|DIR", help="Older code.  [default: the baseline's commit]")
@click.option("--rounds", type=int, default=6, show_default=True, help="Rounds of timing.")
@click.option("-j", "--jobs", type=int, help="Cells to run in parallel.  [default: 1]")
@click.option("--threads", type=int, help="Threads of each learner.  [default: the baseline's]")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Limit for each cell.")
@click.option("--memory-limit", type=float, metavar="MIB", help="Limit for each learner process.")
@click.option("--results", metavar="DIR", help="Store new results in DIR.")
@common_options("data_root", "plugins")
@json_option
def gate(
    common: Common,
    baseline: Path,
    suites: Sequence[str],
    algorithms: Sequence[str],
    margin: str | None,
    frozen: bool,
    speed_margin: str | None,
    base: str | None,
    rounds: int,
    as_json: bool,
    **options: Any,
) -> int:
    """Run a baseline's cells again and compare scores, episode by episode.

    Exit code 0: nothing is worse than the margin allows. 1: something is worse, or failed. 3: the
    evidence is inconclusive. The baseline is not changed; new results are stored only with
    --results. Make a baseline with: metabench run --blocks 3 --seeds 3 --results DIR. With
    --speed-margin, the code is also timed against --base, as duel does.
    """
    from metabench.cli.progress import progress
    from metabench.cli.revisions import code_at, code_at_revision
    from metabench.gating.accuracy_gate import Gate
    from metabench.gating.baseline import select
    from metabench.gating.duel_rounds import FEWEST_ROUNDS
    from metabench.gating.speed_gate import SpeedGate
    from metabench.tables.margins import Margins

    def watch(case: str, done: int) -> None:
        if not common.quiet:
            echo(f"[{done}/{rounds}] rounds of {case}", err=True)

    ours = {k: v for k, v in common.config.items() if k not in _OF_BASELINE | _OF_RUN}
    results_folder = str(common.results) if common.results_given else ""
    request = common.request(ours, options, results=results_folder)
    margins = Margins.parse(margin, request.margins)
    allowed = None if speed_margin is None else _speed_margin(speed_margin)
    if allowed is not None and rounds < FEWEST_ROUNDS:
        raise UsageError(f"rounds={rounds}: an interval needs at least {FEWEST_ROUNDS}")
    if allowed is None and base is not None:
        raise UsageError("--base needs --speed-margin: only times are compared with it")
    plugins = common.load_plugins()
    stored, without = select(baseline, suites, algorithms, plugins, common.data_root)
    common.warn([f"{baseline / path}: no score, so it is not gated" for path in without])
    asked = Gate(baseline, stored, margins, frozen, request, plugins)
    results = [result for _, result in stored]
    timed: list[SpeedGated] = []
    with ExitStack() as stack:
        # Before anything runs, so that a wrong name or version costs no time.
        speed = None
        if allowed is not None:
            older = code_at(base) if base else code_at_revision(_commit(results))
            checkout = stack.enter_context(older)
            speed = SpeedGate(checkout, allowed, rounds, request, plugins, watch)
            speed.check(results)
        found = asked.run(lambda cells: progress(cells, common.quiet))
        if speed is not None:
            timed = speed.run(results)
    if as_json:
        emit_json(gated=found, speed=timed)
    else:
        _print(found, baseline)
        _print_speed(timed)
    return exit_code([*found, *timed])


def exit_code(found: Sequence[Gated | SpeedGated]) -> int:
    """Return 1 if anything failed, otherwise 3 if anything is inconclusive, otherwise 0."""
    verdicts = {gated.verdict for gated in found}
    if verdicts & {"fail", "error"}:
        return FAILED
    return INCONCLUSIVE if "inconclusive" in verdicts else PASSED


def _print(found: Sequence[Gated], baseline: Path) -> None:
    from metabench.cli.table_printing import show
    from metabench.gating import gate_report

    show(
        f"gate: {gate_report.counts(found)}",
        gate_report.COLUMNS,
        [gate_report.row(g) for g in found],
    )
    for gated in found:
        for line in gate_report.explain(gated, baseline):
            echo(line)


def _speed_margin(text: str) -> float:
    from metabench.tables.margins import Margin

    margin = Margin.parse(text)
    if margin.unit != "relative":
        raise UsageError(f"--speed-margin {text}: give a share of the time, such as 10%")
    return margin.amount


def _commit(stored: Sequence[Result]) -> str:
    found = {r.environment.commit for r in stored if r.environment and r.environment.commit}
    if len(found) != 1:
        raise UsageError(
            f"the baseline was made at {len(found)} commits: choose the code to time against with "
            "--base REV|DIR"
        )
    return found.pop()


def _print_speed(timed: Sequence[SpeedGated]) -> None:
    from metabench.cli.table_printing import show
    from metabench.gating import gate_report

    if timed:
        rows = [row for gated in timed for row in gate_report.speed_rows(gated)]
        show(f"speed: {gate_report.counts(timed)}", gate_report.SPEED_COLUMNS, rows)
