"""`metabench why FILE`: the origin of a number, or the reason why there is none."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.cli.output import echo, emit
from metabench.text import one_line, printable_json, shortened

_PARTS = (
    "status",
    "created",
    "wall_s",
    "suite",
    "job",
    "parameters",
    "training",
    "timing",
    "memory",
    "properties",
    "environment",
)
_MAX_CHARS = 180  # characters of a value


@click.command()
@click.argument("file", type=Path)
@common_options("plugins")
@json_option
def why(file: Path, as_json: bool, common: Common) -> None:
    """Show everything in a result FILE: job, outcome, environment, traceback."""
    import msgspec

    from metabench.plugins.staleness import changed_code, current_codes
    from metabench.results.store import ALTERED, Store, read_result

    result = read_result(file)
    if as_json:
        if result.altered:
            common.warn([f"{file}: {ALTERED}"])
        # Not by `echo`, whose escapes are not those of JSON.
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        emit(printable_json(text))
        return
    if result.altered:
        echo("altered: the file has changed since metabench wrote it")
    for part in _PARTS:
        value = msgspec.to_builtins(getattr(result, part))
        if isinstance(value, dict):
            if part == "properties":  # the reason next to what it explains
                value = {key: value[key] for key in ("inductive", "problem")} | value
            echo(f"{part}:")
            for name, item in value.items():
                for line in _lines(part, name, item):
                    echo(f"  {name}: {line}")
        elif value is not None:
            echo(f"{part}: {_short(value)}")
    for point in () if result.training is None else result.training.curve:
        values = ", ".join(f"{k} {v:.4g}" for k, v in point.values.items() if v is not None)
        echo(f"curve: after {point.update:,} updates: {one_line(values)}")
    if result.status == "ok":
        scores = result.per_episode()
        echo(f"score: {scores.mean():.6g} over {len(scores)} episodes")
    root = file.absolute().parent.parent.parent  # the results folder
    plugins = common.load_plugins()
    ((_, code),) = current_codes(plugins, [result])
    for name in changed_code(Store(root), result, code):
        echo(f"code changed since: {one_line(name)}")
    if result.failure is not None:
        echo(f"reason: {one_line(result.failure.reason)}")
        if result.failure.log:
            log = root / result.failure.log
            # `Path.exists` raises an error if a name is too long.
            echo(f"log: {_short(log)}" + ("" if os.path.exists(log) else " (missing)"))  # noqa: PTH110
        echo(indent(result.failure.traceback, "  "), nl=False)


def _lines(part: str, name: str, value: Any) -> list[str]:
    """Return a field as one line, or the evidence of flags as one line per probe."""
    if name == "evidence":
        return [
            one_line(", ".join(f"{key} {shown}" for key, shown in one.items())) for one in value
        ]
    summary = _spread(value) if part == "timing" and isinstance(value, list) else ""
    return [summary or _short(value)]


def _spread(samples: list[float]) -> str:
    """Summarise raw samples, which `--json` has in full; return "" for any other list."""
    from statistics import median

    from metabench.statistics.spread import relative_spread
    from metabench.tables import formatting

    if not samples or not all(isinstance(sample, float) for sample in samples):
        return ""
    return (
        f"{len(samples)} samples, median {formatting.time(median(samples))}, "
        f"IQR / median {relative_spread(samples):.1%}"
    )


def _short(value: object) -> str:
    return shortened(one_line(str(value)), _MAX_CHARS)
