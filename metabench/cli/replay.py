"""`metabench replay FILE`: run a stored cell again and compare the scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.cli.output import echo, emit_json

if TYPE_CHECKING:
    from metabench.results.schema import Result

SAME, DIFFERENT = 0, 1


@click.command()
@click.argument("file", type=Path)
@click.option("--threads", type=int, help="Threads to use.  [default: as stored]")
@click.option("--time-limit", type=float, metavar="SECONDS", help="For the cell.")
@common_options("data_root", "plugins")
@json_option
def replay(file: Path, as_json: bool, common: Common, **options: Any) -> int:
    """Run the cell of a result FILE again and compare the scores.

    Prints "equal" (all outputs are equal to the last bit), "within tolerance" (right answers
    differ in at most 1 % of the queries, or errors by a relative 1e-4) or "different", with exit
    code 1. Also prints what differs in code and environment. Times are not measured, and nothing
    is stored.
    """
    from metabench.cli.progress import progress
    from metabench.gating.provenance import differences
    from metabench.gating.replay_verdict import agreement
    from metabench.gating.replaying import replay as run_again
    from metabench.results.store import read_result

    old = read_result(file)
    ours = common.from_config("time_limit", "memory_limit", "allocator")
    request = common.request(ours, options)
    plugins = common.load_plugins()
    with progress(1, common.quiet) as watcher:
        new = run_again(old, request, watcher, plugins)
    verdict = agreement(old, new)
    differs = differences(old, new)
    if old.altered:
        differs.append("the file, which has changed since metabench wrote it")
    if as_json:
        emit_json(
            file=str(file),
            verdict=verdict,
            differs=differs,
            then=_score(old),
            now=_score(new),
        )
    else:
        _print(verdict, old, new, differs)
    return DIFFERENT if verdict == "different" else SAME


def _print(verdict: str, old: Result, new: Result, differs: list[str]) -> None:
    from metabench.tables import formatting

    metric = old.suite.metric
    then, now = _score(old), _score(new)
    shown = "-" if then is None else formatting.score(then, metric)
    if now is None:
        echo(f"{verdict}: {shown} then, now {new.status}: {new.reason}")
    else:
        echo(f"{verdict}: {shown} then, {formatting.score(now, metric)} now")
    for line in differs or ["nothing recorded"]:
        echo(f"  differs: {line}")


def _score(result: Result) -> float | None:
    return float(result.per_episode().mean()) if result.scores is not None else None
