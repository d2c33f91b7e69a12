"""Text on stdout and stderr."""

from __future__ import annotations

import click

from metabench.text import printable


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text, with control characters as escapes.

    What cannot be written to stderr is lost: a message must not end the work that it is about.

    Args:
        text: what to print; it may contain names and messages of plugins and of other people.
        err: print to stderr.
        nl: end the line.
    """
    try:
        click.echo(printable(text), err=err, nl=nl)
    except (OSError, ValueError):  # ValueError: the stream is closed
        if not err:
            raise
