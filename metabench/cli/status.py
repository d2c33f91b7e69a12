"""`metabench status`: which cells are done, failed or missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.cli.tables import show
from metabench.errors import NothingToRun


@click.command()
@click.option("--failed", is_flag=True, help="Only cells that failed.")
@common_options("results", "plugins")
@json_option
def status(failed: bool, as_json: bool, common: Common) -> None:
    """Show the state of every cell in the results folder.

    A cell is stale when the code it ran with has changed since; `run` does it again.
    """
    from metabench.results.schema import FAILED
    from metabench.results.store import Store

    stored, problems = Store(common.results).read()
    common.warn(problems)
    if not stored:
        trial = Path("results-smoke")  # where `run` without arguments puts them
        if not common.results_given and Store(trial).paths():
            raise NothingToRun(
                f"no results in '{common.results}', but there are in '{trial}': "
                f"add --results {trial}"
            )
        raise NothingToRun(f"no results in '{common.results}'; make some with: metabench run")
    codes = _codes(common)
    rows: list[dict[str, Any]] = []
    for path, result in stored:
        job, failure = result.job, result.failure
        if failed and result.status not in FAILED:
            continue
        rows.append(
            {
                "file": path.as_posix(),
                "suite": result.suite.name,
                "algorithm": job.algorithm,
                "seed": job.seed,
                "budget": job.budget,
                "device": job.device,
                "status": result.status,
                "stale": codes.get(job.algorithm, job.code) != job.code,
                "reason": "" if failure is None else failure.reason,
            }
        )
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    counts = Counter("stale" if row["stale"] else row["status"] for row in rows)
    title = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    show(
        f"{common.results}: {title or 'none failed'}",
        ("file", "status", "reason"),
        # With the folder, so that a line can be pasted behind `metabench why`.
        [
            (str(common.results / r["file"]), r["status"] + " (stale)" * r["stale"], r["reason"])
            for r in rows
        ],
    )


def _codes(common: Common) -> dict[str, str]:
    """The digest of every algorithm's code as it is now."""
    from metabench.plugins import load_plugins
    from metabench.source import source_digest

    plugins = load_plugins(common.doors)
    common.warn(plugins.warnings)
    return {
        name: source_digest(provided.spec, provided.origin)
        for name, provided in plugins.algorithms.items()
    }
