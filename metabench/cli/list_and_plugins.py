"""`metabench list` and `metabench plugins`: the catalogue, read without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from metabench.address import show as show_value
from metabench.cli import table_printing
from metabench.cli.options import Common, common_options, json_option
from metabench.cli.output import echo, emit_json
from metabench.errors import UsageError, unknown
from metabench.plugins.registry import Plugins
from metabench.text import shortened

KINDS = ("algorithms", "suites", "backbones")
_MAX_CHARS = 500  # characters of a cell of a table; JSON has the whole text
Entry = dict[str, Any]


@click.command("list")
@click.argument("kind", required=False, metavar=f"[{'|'.join(KINDS)}]")
@common_options("plugins")
@json_option
def list_(kind: str | None, as_json: bool, common: Common) -> None:
    """List algorithms, suites and backbones, or only one of these."""
    if kind is not None and kind not in KINDS:
        raise unknown("catalogue", kind, KINDS)
    plugins = common.load_plugins(warn=False)  # the hooks may fail too
    wanted = KINDS if kind is None else (kind,)
    found = {name: _ENTRIES[name](plugins) for name in wanted}
    common.warn(plugins.warnings)
    if as_json:
        emit_json(**found)
        return
    for i, (name, entries) in enumerate(found.items()):
        if i:
            echo()
        columns = list(entries[0]) if entries else ["name"]
        table_printing.show(
            name, columns, [[_cell(entry[c]) for c in columns] for entry in entries]
        )


@click.command()
@common_options("plugins")
@json_option
def plugins(as_json: bool, common: Common) -> None:
    """List plugins: the file, the hooks, the status and the error of each."""
    loaded = common.load_plugins(warn=False)  # the table shows most
    for name in KINDS:  # this calls the hooks, which may fail
        try:
            getattr(loaded, name)
        except UsageError as error:
            common.warn([str(error)])
    common.warn(_other_warnings(loaded))
    if as_json:
        emit_json(plugins=list(map(asdict, loaded.rows)))
        return
    rows = [
        [
            row.name,
            row.version,
            row.status,
            row.error,
            ", ".join(hook.removeprefix("metabench_") for hook in row.hooks),
            row.origin,
        ]
        for row in loaded.rows
    ]
    table_printing.show("plugins", ["name", "version", "status", "error", "hooks", "origin"], rows)


def _other_warnings(loaded: Plugins) -> list[str]:
    """Return the warnings that are not already an error in a row of the table."""
    shown = tuple(row.error for row in loaded.rows if row.status == "failed")
    return [line for line in loaded.warnings if not line.endswith(shown)]


def _algorithms(plugins: Plugins) -> list[Entry]:
    return [
        {
            "name": name,
            "params": dict(found.spec.params),
            "tasks": sorted(found.spec.tasks),
            "for_regression": dict(found.spec.regression.params),
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
            "choices": {key: list(values) for key, values in found.spec.choices.items()},
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
    """Format a value for a table."""
    if isinstance(value, dict):
        text = " ".join(f"{key}={_values(given)}" for key, given in value.items())
    else:
        text = " ".join(value) if isinstance(value, list) else str(value)
    return shortened(text, _MAX_CHARS)


def _values(given: Any) -> str:
    """Format a value of a parameter, or its choices, as in an address."""
    return "|".join(map(show_value, given if isinstance(given, list) else [given]))
