"""`metabench why FILE`: where a number comes from, or why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import Common, common_options, json_option
from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.plugins.code_digest import Code
    from metabench.results.schema import Result
    from metabench.results.store import Store

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


@click.command()
@click.argument("file", type=Path)
@common_options("plugins")
@json_option
def why(file: Path, as_json: bool, common: Common) -> None:
    """Show what a result FILE knows: the job, the outcome, the environment, the traceback."""
    import msgspec

    from metabench.plugins.code_digest import with_code
    from metabench.plugins.registry import load_plugins
    from metabench.results.store import Store

    result = read_result(file)
    if as_json:
        click.echo(file.read_text(encoding="utf-8"), nl=False)
        return
    for part in _PARTS:
        value = msgspec.to_builtins(getattr(result, part))
        if isinstance(value, dict):
            click.echo(f"{part}:")
            for name, item in value.items():
                for told in _told(part, name, item):
                    click.echo(f"  {name}: {told}")
        elif value is not None:
            click.echo(f"{part}: {value}")
    for point in () if result.training is None else result.training.curve:
        values = ", ".join(f"{k} {v:.4g}" for k, v in point.values.items() if v is not None)
        click.echo(f"curve: after {point.update:,} updates: {values}")
    if result.status == "ok":
        scores = result.per_episode()
        click.echo(f"score: {scores.mean():.6g} over {len(scores)} episodes")
    root = file.absolute().parent.parent.parent  # the results folder
    plugins = load_plugins(common.doors)
    common.warn(plugins.warnings)
    ((_, code),) = with_code(plugins, [result])
    for name in changed_code(Store(root), result, code):
        click.echo(f"code changed since: {name}")
    if result.failure is not None:
        click.echo(f"reason: {result.failure.reason}")
        if result.failure.log:
            log = root / result.failure.log
            click.echo(f"log: {log}" + ("" if log.exists() else " (not there)"))
        click.echo(result.failure.traceback, nl=False)


def changed_code(store: Store, result: Result, code: Code | None) -> list[str]:
    """What has changed in the code of a cell since its result was made; nothing if it is unknown.

    Args:
        store: where the result lies.
        result: the result.
        code: of its cell, as it is now; None if there is no such algorithm.
    """
    from metabench.plugins.code_digest import changes

    if code is None or code.digest == result.job.code:
        return []
    before = store.load_code(result.job.code)
    if before is None:
        return ["no list of the definitions that it was made by is kept"]
    return changes(before, code.definitions) or ["which definitions use each other"]


def read_result(file: Path) -> Result:
    """The result in a file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    import msgspec

    from metabench.results.schema import decode

    try:
        return decode(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}; `metabench status` lists the files"
        ) from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{file} is not a readable result: {error}") from None


def _told(part: str, name: str, value: Any) -> list[str]:
    """A field in one line; in one for each probe where flags refer to it."""
    if name == "evidence":
        return [", ".join(f"{key} {shown}" for key, shown in one.items()) for one in value]
    summary = _spread(value) if part == "timing" and isinstance(value, list) else ""
    return [summary or _short(value)]


def _spread(samples: list[float]) -> str:
    """Raw samples in one line; "" of what are none. `--json` has them all."""
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
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
