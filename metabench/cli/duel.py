"""`metabench duel A B -s SUITE`: time two algorithms against each other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import Common, common_options, json_option, no_allocator_option
from metabench.cli.output import echo, emit_json

if TYPE_CHECKING:
    from metabench.gating.duel_ratios import PhaseRatio

GOOD, FAILED = 0, 1


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("-s", "--suite", required=True, metavar="SUITE", help="Name or address.")
@click.option("--rounds", type=int, default=6, show_default=True, help="Fresh pairs of processes.")
@click.option("--budget", help="Budget of meta-training.  [default: smoke]")
@click.option("--device", help="cpu, cuda, ... or auto.  [default: cpu]")
@click.option("--threads", type=int, help="Threads of each learner.  [default: cores]")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Limit for each process.")
@no_allocator_option
@common_options("data_root", "plugins")
@json_option
def duel(
    a: str,
    b: str,
    suite: str,
    rounds: int,
    as_json: bool,
    common: Common,
    **options: Any,
) -> int:
    """Time two algorithms against each other, alternately, in fresh processes.

    Prints the ratio of A's time to B's in each phase, with a 95 % confidence interval. Nothing is
    stored.
    """
    from metabench.gating.duel_ratios import phase_ratios
    from metabench.gating.duel_rounds import SideFailed, duel_cells, run_duel
    from metabench.supervisor.run_settings import RunSettings
    from metabench.supervisor.suite_cache import SuiteCache

    def watch(done: int) -> None:
        if not common.quiet:
            echo(f"[{done}/{rounds}] rounds", err=True)

    ours = common.from_config(*options, "memory_limit")
    request = common.request(ours, options, suites=[suite])
    plugins = common.load_plugins()
    cells = duel_cells(a, b, request, plugins)
    try:
        with closing(SuiteCache(common.data_root)) as suites, TemporaryDirectory() as logs:
            settings = RunSettings.of(request, Path(logs))
            phases = phase_ratios(run_duel(cells, suites, (settings, settings), rounds, watch))
    except SideFailed as error:
        if common.debug:
            for line in error.traceback.splitlines():
                echo(line, err=True)
        echo(f"metabench: failed: {error}", err=True)
        return FAILED
    names = (cells[0].configured.address, cells[1].configured.address)
    title = f"{cells[0].suite.name}: {rounds} rounds, budget {request.budget}, {request.device}"
    if as_json:
        emit_json(
            suite=cells[0].suite.name,
            a=names[0],
            b=names[1],
            budget=request.budget,
            device=request.device,
            phases=phases,
        )
    else:
        _print(title, names, phases)
    return GOOD


def _print(title: str, names: tuple[str, str], phases: Sequence[PhaseRatio]) -> None:
    from metabench.cli.table_printing import show
    from metabench.gating.gate_report import phase_cells

    rows = [
        (phase.phase, ratio, interval, _verdict(phase), a, b)
        for phase in phases
        for a, b, ratio, interval in [phase_cells(phase)]
    ]
    columns = ("phase", "A / B", "95 % CI", "", f"A: {names[0]}", f"B: {names[1]}")
    show(title, columns, rows, fewest=4)


def _verdict(phase: PhaseRatio) -> str:
    if phase.ci95 is None:
        return ""
    low, high = phase.ci95
    if low <= 1 <= high:
        return "no difference shown"
    return "A is faster" if high < 1 else "B is faster"
