"""`metabench run`: run cells, then print the leaderboard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from metabench.cli import CellError
from metabench.cli.options import Common, as_argument, common_options, no_allocator_option
from metabench.cli.output import echo
from metabench.errors import DataError, NothingToRun

if TYPE_CHECKING:
    from pathlib import Path

    from metabench.results.schema import Result
    from metabench.supervisor.estimate import TimeEstimate
    from metabench.supervisor.prepared_run import PreparedRun

GOOD, SOME_FAILED = 0, 1


@click.command()
@click.option(
    "-s", "--suite", "suites", multiple=True, metavar="SUITE", help="Name, glob or address."
)
@click.option(
    "-a",
    "--algorithm",
    "algorithms",
    multiple=True,
    metavar="ALGO[p=v]",
    help="Name, glob or address.",
)
@click.option("--seeds", type=int, help="Number of seeds.  [default: 1]")
@click.option("--budget", help="smoke, standard, paper, tasks=N, seconds=S.  [default: smoke]")
@click.option("--device", help="cpu, cuda, cuda:1, mps, ... or auto.  [default: cpu]")
@click.option("--train-on", metavar="SUITE", help="Meta-train on this suite's base data.")
@click.option("-j", "--jobs", type=int, help="Cells to run in parallel.  [default: 1]")
@click.option("--threads", type=int, help="Threads of each learner.  [default: cores / jobs]")
@click.option("--shard", metavar="I/N", help="Run only part I of N.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="Limit for each cell.")
@click.option("--memory-limit", type=float, metavar="MIB", help="Limit for each learner process.")
@click.option(
    "--checkpoint-every",
    type=float,
    metavar="SECONDS",
    help="Time between checkpoints of meta-training.  [default: 30]",
)
@click.option(
    "--keep-checkpoints", is_flag=True, default=None, help="Keep checkpoints of finished cells."
)
@click.option("--blocks", type=int, help="Blocks of episodes; a baseline has three.  [default: 1]")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--force", is_flag=True, help="Run finished cells again.")
@click.option("--retry-failed", is_flag=True, help="Run failed cells again.")
@click.option("--keep-stale", is_flag=True, help="Keep results made by other code.")
@click.option("--in-process", is_flag=True, help="Run here, for a debugger; store nothing.")
@no_allocator_option
@common_options("results", "data_root", "plugins")
def run(
    common: Common,
    dry_run: bool,
    force: bool,
    retry_failed: bool,
    keep_stale: bool,
    in_process: bool,
    **options: Any,
) -> int:
    """Run cells and print the leaderboard; finished cells are kept.

    Without -s and -a, bench.toml decides what runs. Without bench.toml, every algorithm runs on
    the embedded suites, which need no network. Results go to results/, and those of the smoke
    budget to results-smoke/.
    """
    from metabench.supervisor.plan import Policy
    from metabench.supervisor.prepared_run import PreparedRun

    fixed = {"results": str(common.results)} if common.results_given else {}
    request = common.request(common.config, options, **fixed)
    policy = Policy(force=force, retry_failed=retry_failed, keep_stale=keep_stale)

    plugins = common.load_plugins(warn=False)
    with PreparedRun(request, policy, plugins=plugins) as prepared:
        common.warn(plugins.warnings)
        if dry_run:
            _print_plan(prepared)
            return GOOD
        if in_process:
            from metabench.plugins.process_state import put_back, settings, torch_defaults

            with put_back(settings), torch_defaults():
                # Processes that learners start must not import from the working folder either.
                os.environ["PYTHONSAFEPATH"] = "1"
                return _run_in_process(prepared)
        return _run(prepared, common)


def _run(prepared: PreparedRun, common: Common) -> int:
    from metabench.cli.progress import progress

    todo = sum(p.todo for p in prepared.planned)
    folder = prepared.store.root
    if todo and not common.quiet:
        expected = prepared.estimate()
        if expected.seconds:
            echo(f"metabench: {_todo(prepared, expected)}", err=True)
    try:
        with progress(todo, quiet=common.quiet) as watcher:
            ran = prepared.run(watcher)
    except KeyboardInterrupt:
        note = f"finished cells are kept in {folder}/; run the same command to resume"
        echo(f"metabench: {note}", err=True)
        raise
    return _show(prepared, common, todo, ran)


def _show(prepared: PreparedRun, common: Common, todo: int, ran: Sequence[Result]) -> int:
    # Imported late: if a cell has run, scipy, the slowest of these to import, is loaded already.
    from metabench.cli.table_printing import show_leaderboard
    from metabench.results.schema import FAILED
    from metabench.tables.ranked_tables import build_tables
    from metabench.tables.rows import StoredResult

    folder = prepared.store.root
    loaded, damaged = _load(prepared)
    common.warn([f"{error}; run the same command again" for error in damaged])
    found = [(path, result) for path, result in loaded if result is not None]
    failed = [(path, result) for path, result in found if result.status in FAILED]
    stored = [result for _, result in found]
    kept_older = [result for result in ran if result.status in FAILED and result not in stored]
    unfinished = [result for result in ran if result.status == "interrupted"]
    gone = [path for path, result in loaded if result is None]
    ran_any = any(result.status == "ok" for _, result in found)
    if not (failed or unfinished or gone or damaged or ran_any):
        cell, result = prepared.cells[0], found[0][1]
        raise NothingToRun(f"no algorithm applies to these suites; {cell}: {result.reason}")
    stale = {p.cell.path for p in prepared.planned if p.state == "stale" and not p.todo}
    show_leaderboard(
        build_tables(
            StoredResult(path, result, "stale" if path in stale else "current")
            for path, result in found
        )
    )
    for path, result in failed:
        echo(
            f"metabench: failed: {result.reason}; see "
            + common.command("why", as_argument(folder / path)),
            err=True,
        )
    for result in unfinished:
        echo(f"metabench: {_cell(result)}: {result.reason}; run the same command again", err=True)
    for path in gone:
        echo(f"metabench: {folder / path} was removed; run the same command again", err=True)
    for result in kept_older:
        log = result.failure.log if result.failure else ""
        echo(
            f"metabench: failed: {_cell(result)}: {result.reason}; the older score is kept"
            + (f"; see {folder / log}" if log else ""),
            err=True,
        )
    if not common.quiet:
        kept = len(prepared.cells) - todo
        echo(
            f"metabench: {todo} cells run, {kept} kept; results in {folder}/, "
            f"show them again with: {common.command('leaderboard', '--results', str(folder))}",
            err=True,
        )
    return SOME_FAILED if failed or kept_older or unfinished or gone or damaged else GOOD


def _load(prepared: PreparedRun) -> tuple[list[tuple[Path, Result | None]], list[DataError]]:
    """Return the stored results, None for those that are gone, and why others cannot be read."""
    loaded: list[tuple[Path, Result | None]] = []
    damaged: list[DataError] = []
    for cell in prepared.cells:
        try:
            loaded.append((cell.path, prepared.store.load(cell.path)))
        except DataError as error:  # another process has written it meanwhile
            damaged.append(error)
    return loaded, damaged


def _cell(result: Result) -> str:
    return f"{result.suite.name} {result.job.algorithm} seed {result.job.seed}"


def _run_in_process(prepared: PreparedRun) -> int:
    """Run every cell in this process and pass its exceptions on to the user's debugger."""
    import torch

    from metabench.supervisor.environment import cores
    from metabench.supervisor.in_process_executor import InProcessExecutor
    from metabench.tables import formatting

    torch.set_num_threads(prepared.request.threads or cores())
    executor = InProcessExecutor(prepared.suites, prepared.plugins)
    for cell in prepared.cells:
        try:
            result = executor.submit(cell).result()
        except Exception as error:
            raise CellError from error
        scores = result.per_episode()
        if len(scores):
            shown = formatting.score(scores.mean(), cell.suite.metric)
            echo(f"{cell}: {shown} on {len(scores)} episodes (not stored)")
        else:
            echo(f"{cell}: {result.reason}")
    return GOOD


def _print_plan(prepared: PreparedRun) -> None:
    from metabench.cli.table_printing import show

    rows = [
        (
            p.cell.suite.name,
            p.cell.configured.address,
            str(p.cell.seed),
            p.cell.budget.name,
            p.state,
            "run" if p.todo else "keep",
        )
        for p in prepared.planned
    ]
    columns = ("suite", "algorithm", "seed", "budget", "state", "plan")
    show(f"{_todo(prepared, prepared.estimate())}, into {prepared.store.root}/", columns, rows)


def _todo(prepared: PreparedRun, expected: TimeEstimate) -> str:
    """Describe how much there is to do, and how long it may take."""
    from metabench.tables.formatting import duration

    todo = sum(p.todo for p in prepared.planned)
    text = f"{len(prepared.planned)} cells, {todo} to run"
    if expected.seconds:
        text += f", about {duration(expected.seconds)} by the times of earlier results"
    if expected.unknown:
        text += f", {expected.unknown} never run before"
    return text
