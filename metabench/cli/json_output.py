"""JSON on stdout, in the envelope that all verbs share."""

from __future__ import annotations

import click

from metabench.cli.output import stdout


def emit_json(**content: object) -> None:
    """Print a JSON object with the schema version and the content."""
    from metabench.tables.json_format import json_text

    click.echo(json_text(**content), file=stdout(), nl=False)
