"""`metabench leaderboard`: print, write or check the tables made from result files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metabench.cli.options import Common, common_options, json_option, no_results
from metabench.cli.output import STDOUT_FILES, echo, emit, emit_json
from metabench.cli.table_printing import show_leaderboard
from metabench.errors import DataError, NothingToRun, UsageError, reason
from metabench.tables.formats import FORMATS, render

if TYPE_CHECKING:
    from metabench.tables.ranked_tables import Table
    from metabench.tables.rows import StoredResult

DEFAULT_FILE = Path("leaderboard.md")
DRIFT = 1  # exit code of --check


@click.command()
@click.option(
    "-s",
    "--suite",
    "suites",
    metavar="SUITE",
    multiple=True,
    help="Only this suite: a name, an address, or a pattern such as 'digits-*'.",
)
@click.option(
    "--budget", metavar="BUDGET", help="Only this budget: smoke, standard, paper, tasks=N, ..."
)
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), help="[default: md]")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to FILE, in the format of its suffix; plugins add reports to its folder. "
    "- is stdout.",
)
@click.option(
    "--check", is_flag=True, help="Exit with 1 unless FILE (leaderboard.md) is up to date."
)
@click.option(
    "--diff",
    metavar="REV|DIR",
    help="Show what differs from a git revision or from another results folder.",
)
@click.option("--published", is_flag=True, help="Compare our rows with published numbers.")
@click.option(
    "--calibration", is_flag=True, help="Show the calibration of predicted probabilities."
)
@common_options("results", "data_root", "plugins")
@json_option
def leaderboard(
    suites: Sequence[str],
    budget: str | None,
    format_: str | None,
    output: Path | None,
    check: bool,
    diff: str | None,
    published: bool,
    calibration: bool,
    as_json: bool,
    common: Common,
) -> int:
    """Print the leaderboard, write it to a file, or check that file."""
    from metabench.tables.leaderboard_frame import with_code_state
    from metabench.tables.ranked_tables import build_tables

    if as_json and format_ not in (None, "json"):
        raise UsageError(f"--json and --format {format_} contradict each other: use one")
    views = {"--check": check, "--diff": diff, "--published": published}
    asked = [name for name, given in {**views, "--calibration": calibration}.items() if given]
    if output is not None and asked and asked != ["--check"]:
        asked.append("-o")
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} cannot be combined: use one")
    if diff is not None and as_json:
        raise UsageError("--diff writes Markdown only: remove --json")
    if format_ is not None and asked and asked[0] not in ("--check", "-o"):
        raise UsageError(f"{asked[0]} has a fixed format: remove --format")
    wanted = "json" if as_json else format_
    cells = _cells(common, suites, budget)
    if diff is not None:
        _diff(common, diff, suites, budget, build_tables(cells))
        return 0
    plugins = common.load_plugins(warn=False)
    tables = build_tables(with_code_state(cells, plugins))
    common.warn(plugins.warnings)  # hooks have been called
    if published:
        _published(tables, as_json)
        return 0
    if calibration and not as_json:
        from metabench.tables.calibration_table import calibration_document

        echo(calibration_document(tables), nl=False)
        return 0
    if check:
        file = output or DEFAULT_FILE
        return _check(common, file, _document(common, file, wanted, tables))
    if output is not None:
        text = _document(common, output, wanted, tables)
        if str(output) in STDOUT_FILES:
            emit(text)
            return 0
        _write(common, output, text)
        if output.is_file():  # not /dev/null or a pipe, whose folder is no place for reports
            plugins.report([cell.result for cell in cells], output.parent)
    elif wanted is None:
        show_leaderboard(tables)
    else:
        emit(render(wanted, tables))
    return 0


def _cells(common: Common, suites: Sequence[str], budget: str | None) -> list[StoredResult]:
    from metabench.tables.leaderboard_frame import read, select

    cells, problems = read(common.results)
    common.warn(problems)
    if not cells:
        raise no_results(common)
    chosen = select(cells, suites, budget, common.data_root)
    if not chosen:
        names = ", ".join(sorted({cell.result.suite.name for cell in cells}))
        budgets = ", ".join(sorted({cell.result.job.budget for cell in cells}))
        raise NothingToRun(
            f"no results in '{common.results}' match these filters; "
            f"suites: {names}; budgets: {budgets}"
        )
    return chosen


def _document(common: Common, file: Path, wanted: str | None, tables: Sequence[Table]) -> str:
    """Return the content of a file, with links to the results if the format has links."""
    results = Path(os.path.relpath(common.results, file.parent))
    return render(wanted or _format_of(file), tables, results.as_posix())


def _format_of(file: Path) -> str:
    if str(file) in STDOUT_FILES:
        return "md"
    suffix = file.suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise UsageError(f"the suffix of '{file}' is not a known format: add --format md")
    return suffix


def _write(common: Common, file: Path, text: str) -> None:
    from metabench.files import write_output

    try:
        write_output(file, text.encode())
    except OSError as error:
        raise DataError(f"cannot write {file}: {reason(error)}; choose another file") from error
    if not common.quiet:
        echo(f"wrote {file}", err=True)


def _check(common: Common, file: Path, text: str) -> int:
    """Return 0 if a file is up to date; otherwise print the differences and return `DRIFT`."""
    if file.is_file() and file.read_bytes() == text.encode():
        return 0
    if file.is_file():
        old = file.read_text(encoding="utf-8", errors="replace").splitlines()
        new = text.splitlines()
        for line in unified_diff(old, new, str(file), "current results", n=0, lineterm=""):
            echo(line)
    what = "is out of date" if file.exists() else "does not exist"
    results = ["--results", str(common.results)] if common.results_given else []
    command = common.command("leaderboard", *results, "-o", str(file))
    echo(f"{file} {what}; write it with: {command}", err=True)
    return DRIFT


def _diff(
    common: Common, old: str, suites: Sequence[str], budget: str | None, tables: Sequence[Table]
) -> None:
    """Print the changes from other results to these."""
    from metabench.cli.revisions import results_at
    from metabench.tables.leaderboard_diff import changed_rows, diff_document
    from metabench.tables.leaderboard_frame import read, select
    from metabench.tables.ranked_tables import build_tables

    with results_at(old, common.results) as folder:
        cells, problems = read(folder)
        common.warn(problems)
        before = build_tables(select(cells, suites, budget, common.data_root))
    echo(diff_document(changed_rows(before, tables), old), nl=False)


def _published(tables: Sequence[Table], as_json: bool) -> None:
    """Print published numbers on these suites with our rows."""
    from metabench.tables import published

    pairs = published.pair_with_rows(tables, published.load_published())
    if not pairs:
        raise NothingToRun("no published numbers are known for these suites")
    if as_json:
        emit_json(published=pairs)
    else:
        echo(published.published_document(pairs), nl=False)
