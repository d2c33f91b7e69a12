"""`metabench list` and `metabench plugins`: what there is, without importing torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from metabench.address import show as show_value
from metabench.cli import table_printing
from metabench.cli.options import Common, common_options, json_option
from metabench.errors import UsageError, unknown
from metabench.plugins.registry import Plugins, load_plugins

KINDS = ("algorithms", "suites", "backbones")
Entry = dict[str, Any]


@click.command("list")
@click.argument("kind", required=False, metavar=f"[{'|'.join(KINDS)}]")
@common_options("plugins")
@json_option
def list_(kind: str | None, as_json: bool, common: Common) -> None:
    """List algorithms, suites and backbones, or one of them."""
    if kind is not None and kind not in KINDS:
        raise unknown("catalogue", kind, KINDS)
    plugins = load_plugins(common.doors)
    wanted = KINDS if kind is None else (kind,)
    found = {name: _ENTRIES[name](plugins) for name in wanted}
    common.warn(plugins.warnings)
    if as_json:
        click.echo(json.dumps({"schema": 1, **found}, indent=2))
        return
    for i, (name, entries) in enumerate(found.items()):
        if i:
            click.echo()
        columns = list(entries[0]) if entries else ["name"]
        table_printing.show(
            name, columns, [[_cell(entry[c]) for c in columns] for entry in entries]
        )


@click.command()
@common_options("plugins")
@json_option
def plugins(as_json: bool, common: Common) -> None:
    """List plugins: where each came from, what it provides, and why it failed if it did."""
    loaded = load_plugins(common.doors)
    for name in KINDS:  # hooks are called only now, and may fail
        try:
            getattr(loaded, name)
        except UsageError as error:
            common.warn([str(error)])
    common.warn(_untold(loaded))
    if as_json:
        click.echo(json.dumps({"schema": 1, "plugins": list(map(asdict, loaded.rows))}, indent=2))
        return
    rows = [
        [
            row.name,
            row.version,
            row.status,
            ", ".join(hook.removeprefix("metabench_") for hook in row.hooks),
            row.origin,
            row.error,
        ]
        for row in loaded.rows
    ]
    table_printing.show("plugins", ["name", "version", "status", "hooks", "origin", "error"], rows)


def _untold(loaded: Plugins) -> list[str]:
    """The warnings that no row of the table tells: its errors stand there already."""
    told = [row.error for row in loaded.rows if row.status == "failed"]
    return [line for line in loaded.warnings if not line.endswith(tuple(told))]


def _algorithms(plugins: Plugins) -> list[Entry]:
    return [
        {
            "name": name,
            "params": dict(found.spec.params),
            "for_regression": dict(found.spec.regression.params),
            "tasks": sorted(found.spec.tasks),
            "tags": sorted(found.spec.tags),
            "provider": found.provider,
            "reference": found.spec.reference,
        }
        for name, found in plugins.algorithms.items()
    ]


def _suites(plugins: Plugins) -> list[Entry]:
    return [
        {
            "name": name,
            "dataset": found.spec.dataset_name,
            "way": found.spec.way,
            "shot": found.spec.shot,
            "query": found.spec.query,
            "episodes": found.spec.episodes,
            "metric": found.spec.metric,
            "provider": found.provider,
        }
        for name, found in plugins.suites.items()
    ]


def _backbones(plugins: Plugins) -> list[Entry]:
    return [
        {
            "name": name,
            "params": dict(found.spec.params),
            "provider": found.provider,
            "reference": found.spec.reference,
        }
        for name, found in plugins.backbones.items()
    ]


_ENTRIES: dict[str, Callable[[Plugins], list[Entry]]] = {
    "algorithms": _algorithms,
    "suites": _suites,
    "backbones": _backbones,
}


def _cell(value: Any) -> str:
    """A value as people read it in a table."""
    if isinstance(value, dict):
        return " ".join(f"{key}={show_value(given)}" for key, given in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)
