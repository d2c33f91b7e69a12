"""`metabench export-manifest SUITE`: write a suite's episodes to a file that anyone can read."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.options import Common, common_options
from metabench.cli.output import STDOUT_FILES, echo
from metabench.errors import UsageError


@click.command()
@click.argument("suite")
@click.option(
    "-o", "--output", type=Path, metavar="FILE", help="File to write.  [default: SUITE.json]"
)
@click.option("--episodes", type=click.IntRange(1), help="Write only the first N.  [default: all]")
@common_options("data_root", "plugins")
def export_manifest(suite: str, output: Path | None, episodes: int | None, common: Common) -> None:
    """Write the test episodes of SUITE to a manifest file, with the images next to it.

    The file can be used as a suite: metabench run -s manifest:FILE
    """
    from metabench.data import manifest_file
    from metabench.supervisor.lookup import find_suite

    if str(output) in STDOUT_FILES:
        raise UsageError(f"-o {output}: the images need a folder, so give the name of a file")
    plugins = common.load_plugins()
    found = find_suite(suite, plugins, common.data_root)
    if found.kind == "regression":
        raise UsageError(
            f"{found.name} is a suite of functions: only suites of images have manifest files"
        )
    opened = found.open(common.data_root)
    file = output or Path(f"{found.name}.json")
    if file.exists():
        raise UsageError(f"{file} already exists: move it away or choose another file with -o")
    part = slice(episodes)
    manifest = opened.episodes
    manifest_file.write(
        file,
        found.name,
        opened.dataset,
        manifest.support[part],
        manifest.support_y[part],
        manifest.query[part],
        manifest.query_y[part],
    )
    if not common.quiet:
        echo(f"wrote {file}", err=True)
