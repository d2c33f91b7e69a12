"""`metabench check-data SUITE`: look for leaks in the data of a suite."""

from __future__ import annotations

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.cli.output import echo, emit_json

GOOD, LEAKS = 0, 1


@click.command()
@click.argument("suite", metavar="SUITE")
@common_options("data_root", "plugins")
@json_option
def check_data(suite: str, as_json: bool, common: Common) -> int:
    """Look for leaks in SUITE: between its splits, and between support sets and queries.

    SUITE is a name, folder:PATH, manifest:FILE or lake:PATH. Exit code 1: there are leaks.
    """
    from metabench.checks.leaks import find_leaks
    from metabench.supervisor.lookup import find_suite

    plugins = common.load_plugins()
    found = find_suite(suite, plugins, common.data_root)
    leaks = []
    for leak in find_leaks(found.open(common.data_root)):
        leaks.append(leak)
        if as_json:
            continue
        echo(f"  {leak.check:<36} {leak.found or 'none'}")
        for example in leak.examples:
            echo(f"  {'':<8}{example}")
        if leak.advice:
            echo(f"  {'':<8}do: {leak.advice}")
    if as_json:
        emit_json(suite=found.name, leaks=[leak._asdict() for leak in leaks])
    total = sum(leak.found for leak in leaks)
    if not as_json:
        echo(f"{found.name}: {total or 'no'} leak{'s' * (total != 1)}")
    return LEAKS if total else GOOD
