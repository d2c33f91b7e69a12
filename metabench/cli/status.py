"""`metabench status`: which cells are done, failed or stale."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import Common, as_argument, common_options, json_option, no_results
from metabench.cli.output import emit_json
from metabench.cli.table_printing import show
from metabench.text import shell_line

if TYPE_CHECKING:
    from metabench.plugins.registry import Plugins
    from metabench.results.schema import Result


@click.command()
@click.option("--failed", is_flag=True, help="Only cells that failed.")
@common_options("results", "plugins")
@json_option
def status(failed: bool, as_json: bool, common: Common) -> None:
    """Show the state of every cell in the results folder.

    A cell is stale if the code that it ran has changed since; `run` runs it again. -v names the
    definitions that have changed. It is unknown whether a cell is stale if its plugin is not
    loaded. `run --dry-run` shows which cells remain to be run.
    """
    from metabench.plugins.staleness import changed_code, code_state, current_codes
    from metabench.results.schema import FAILED
    from metabench.results.store import Store

    store = Store(common.results)
    stored, problems = store.read()
    common.warn(problems)
    if not stored:
        raise no_results(common)
    plugins = common.load_plugins()
    rows: list[dict[str, Any]] = []
    codes = current_codes(plugins, (result for _, result in stored))
    for (path, _), (result, code) in zip(stored, codes, strict=True):
        changed, state = changed_code(store, result, code), code_state(result, code)
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
                "stale": state == "stale",
                "code": state,
                "reason": "" if failure is None else failure.reason,
                "changed": changed,
                "plugins": _not_loaded(result, plugins) if state == "unknown" else "",
            }
        )
    if as_json:
        emit_json(cells=rows)
        return
    counts = Counter(r["status"] if r["code"] == "current" else r["code"] for r in rows)
    title = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    show(
        f"{common.results}: {title or 'none failed'}",
        ("file", "status", "reason"),
        # With the folder, so that a path can be pasted after `metabench why`.
        [
            (
                as_argument(common.results / r["file"]),
                r["status"] + (f" ({r['code']})" if r["code"] != "current" else ""),
                "; ".join(
                    filter(None, [r["reason"], r["plugins"]] + r["changed"] * common.verbose)
                ),
            )
            for r in rows
        ],
    )


def _not_loaded(result: Result, plugins: Plugins) -> str:
    """Describe what has to be loaded to find the code of a result."""
    from metabench.results.result_file import plugin_words

    if result.job.algorithm in plugins.algorithms:
        return "its suite is not known here"
    recorded = None if result.environment is None else result.environment.plugins
    words = [word for option in recorded or [] for word in plugin_words(option)]
    return f"its plugin is not loaded; add {shell_line(words)}" if words else "no such plugin"
