"""`metabench status`: which cells are done, failed or stale."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from metabench.cli.json_output import emit_json
from metabench.cli.options import Common, common_options, json_option, no_results
from metabench.cli.table_printing import show


@click.command()
@click.option("--failed", is_flag=True, help="Only cells that failed.")
@common_options("results", "plugins")
@json_option
def status(failed: bool, as_json: bool, common: Common) -> None:
    """Show the state of every cell in the results folder.

    A cell is stale if the code that it ran has changed since; `run` runs it again. -v names the
    definitions that have changed. `run --dry-run` shows which cells remain to be run.
    """
    from metabench.cli.why import changed_code
    from metabench.plugins.registry import load_plugins
    from metabench.plugins.staleness import current_codes
    from metabench.results.schema import FAILED
    from metabench.results.store import Store

    store = Store(common.results)
    stored, problems = store.read()
    common.warn(problems)
    if not stored:
        raise no_results(common)
    plugins = load_plugins(common.sources)
    common.warn(plugins.warnings)
    rows: list[dict[str, Any]] = []
    codes = current_codes(plugins, (result for _, result in stored))
    for (path, _), (result, code) in zip(stored, codes, strict=True):
        changed = changed_code(store, result, code)
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
                "stale": bool(changed),
                "reason": "" if failure is None else failure.reason,
                "changed": changed,
            }
        )
    if as_json:
        emit_json(cells=rows)
        return
    counts = Counter("stale" if row["stale"] else row["status"] for row in rows)
    title = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    show(
        f"{common.results}: {title or 'none failed'}",
        ("file", "status", "reason"),
        # With the folder, so that a path can be pasted after `metabench why`.
        [
            (
                str(common.results / r["file"]),
                r["status"] + " (stale)" * r["stale"],
                "; ".join(
                    [*filter(None, [r["reason"]]), *(r["changed"] if common.verbose else [])]
                ),
            )
            for r in rows
        ],
    )
