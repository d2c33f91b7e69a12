"""Text on stdout and stderr."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

import click

from metabench.text import one_line, printable

# Names of files that lead to stdout. Opened within `own_stdout`, they would lead to stderr.
STDOUT_FILES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

_log = logging.getLogger(__name__)

_own: TextIO | None = None  # metabench's own stdout, within `own_stdout`


def stdout() -> TextIO:
    """Return the stream for results."""
    return _own or sys.stdout


@contextmanager
def own_stdout() -> Iterator[None]:
    """Keep stdout for `echo` and `stdout`; what others print goes to stderr.

    Otherwise plugins, libraries, native code and the processes that they start could spoil JSON.
    """
    global _own
    usual = sys.stdout
    with suppress(OSError, ValueError):
        usual.flush()
    with os.fdopen(os.dup(1), "w", encoding=usual.encoding, errors=usual.errors) as kept:
        try:
            direct = usual.fileno() == 1
        except (OSError, ValueError):  # a buffer, or closed
            direct = False
        _own = kept if direct else usual
        os.dup2(2, 1)
        try:
            # An object that leads to descriptor 1 stays: input() edits lines only with it.
            with redirect_stdout(usual if direct else sys.stderr):
                yield
        finally:
            _own = None
            with suppress(OSError, ValueError):
                usual.flush()
            os.dup2(kept.fileno(), 1)


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Log Python's warnings, which may be those of plugins, so that each is one safe line."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _log.warning("%s, line %d: %s: %s", filename, lineno, category.__name__, message)


def emit(text: str) -> None:
    """Print text as it is to stdout; its format has made it safe in a way of its own."""
    click.echo(text, file=stdout(), nl=False)


def emit_json(**content: object) -> None:
    """Print a JSON object with the schema version and the content to stdout."""
    from metabench.tables.json_format import json_text

    emit(json_text(**content))


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text, with control characters as escapes; a message on stderr is one line.

    What cannot be written to stderr is lost: a message must not end the work that it is about.

    Args:
        text: what to print; it may contain names and messages of plugins and of other people.
        err: print to stderr.
        nl: end the line.
    """
    text = one_line(text) if err else printable(text)
    try:
        click.echo(text, file=None if err else stdout(), err=err, nl=nl)
    except (OSError, ValueError):  # ValueError: the stream is closed
        if not err:
            raise
