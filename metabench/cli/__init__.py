"""The command line, `metabench VERB`: parse, call, print.

A new verb is one file and one line of `VERBS`. Only the file of the requested verb is imported,
and no verb's file imports torch at its top.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

import metabench
from metabench.cli.output import echo, shown_warnings
from metabench.errors import MetabenchError, NothingToRun, UsageError, unknown
from metabench.plugins import process_state
from metabench.text import shortened

# verb -> its command, and its description in one line
VERBS = {
    "run": ("metabench.cli.run:run", "Run cells and print the leaderboard."),
    "status": ("metabench.cli.status:status", "Show which cells are done, failed or stale."),
    "leaderboard": ("metabench.cli.leaderboard:leaderboard", "Print or check the leaderboard."),
    "compare": (
        "metabench.cli.compare:compare",
        "Compare two algorithms by their stored results.",
    ),
    "check": ("metabench.cli.check:check", "Check that a plugin keeps the learner contract."),
    "check-data": ("metabench.cli.check_data:check_data", "Look for leaks in a suite's data."),
    "gate": ("metabench.cli.gate:gate", "Test accuracy and speed against a baseline."),
    "duel": ("metabench.cli.duel:duel", "Time two algorithms against each other."),
    "replay": ("metabench.cli.replay:replay", "Run a stored cell again and compare."),
    "why": ("metabench.cli.why:why", "Show everything in a result file."),
    "list": ("metabench.cli.list_and_plugins:list_", "List algorithms, suites and backbones."),
    "plugins": ("metabench.cli.list_and_plugins:plugins", "List plugins, including failed ones."),
    "new": ("metabench.cli.new:new", "Write a new algorithm and its test, to start from."),
    "export-manifest": (
        "metabench.cli.export:export_manifest",
        "Write the episodes of a suite to a file.",
    ),
}

_MAX_CHARS = 1000  # characters of an error, which may name a text of any length
GOOD, FAILED, USAGE, NOTHING, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 4, 130, 141
# Too many processes or threads, too many open files, too little memory.
_EXHAUSTED = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Ended(KeyboardInterrupt):
    """A signal that asks the process to end, as batch systems send; treated as Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class OutputClosedError(Exception):
    """The reader of stdout has closed it, as in `metabench list | head -1`."""


class CellError(Exception):
    """An error that a cell raised in this process; its cause goes on to the user's debugger."""


@contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError from error


class Verbs(click.Group):
    """The verbs, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, attr = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attr)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not ctx.resilient_parsing:
            raise unknown("verb", args[0], VERBS)
        _refuse_empty(args)
        return super().resolve_command(ctx, args)

    # click would turn a closed output into exit code 1, which means that a cell failed

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _output():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _output():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.command(cls=Verbs, subcommand_metavar="VERB [OPTIONS]")
@click.version_option(metabench.__version__, message="metabench %(version)s")
def cli() -> None:
    """Benchmark few-shot and meta-learning algorithms on the same frozen episodes."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors go to stderr.

    Args:
        args: the arguments after `metabench`; None means those of this process.

    Returns:
        The verb's exit code, or 0 if it has none. Otherwise 1 for an internal error, 2 for a
        user error, 4 if there is nothing to run, 130 if interrupted, 141 if the output was
        closed, 128 plus the number of a signal that ended the work.
    """
    _open_streams()
    ends = args is None  # the process, after this
    args = sys.argv[1:] if args is None else list(args)
    debug = "--debug" in args
    inside = "--in-process" in args
    try:
        with _signals(), process_state.no_exit(), shown_warnings():
            code = cli.main(args=args or ["--help"], prog_name="metabench", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else GOOD
    except CellError as error:
        cause = error.__cause__ or error
        for note in getattr(error, "__notes__", ()):  # options.py has named the plugins
            cause.add_note(note)
        raise cause from None
    except (click.ClickException, MetabenchError) as error:
        return _report(error, debug)
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(ended := error.__cause__ or error, Ended):  # click raises Abort from it
            echo(f"metabench: ended by {ended}", err=True)
            return 128 + ended.number
        echo("metabench: interrupted", err=True)
        return INTERRUPTED
    except (OutputClosedError, BrokenPipeError):
        _drop_output()
        return BROKEN_PIPE
    except SystemExit as error:
        if debug:
            traceback.print_exc()
        echo(f"metabench: error: {_place(error)} ended the process: SystemExit: {error}", err=True)
        return FAILED
    except Exception as error:
        match error:
            case OSError(errno=errno.EIO) if _terminal_is_gone():
                _drop_output()
                return BROKEN_PIPE
            case OSError(errno=errno.ENOSPC):
                _drop_output()
                echo(f"metabench: error: cannot write: {error.strerror}", err=True)
                return USAGE
            case OSError(errno=number) if number in _EXHAUSTED:
                echo(
                    f"metabench: error: out of a system resource ({error.strerror}); "
                    "end other processes or raise the limit (ulimit -a)",
                    err=True,
                )
                return USAGE
        if inside:  # for a debugger, which starts where an exception was raised
            raise
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.filename is not None:  # the system refuses a path
            echo(f"metabench: error: cannot use {error.filename}: {error.strerror}", err=True)
            return USAGE
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        advice = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        advice += "" if debug else "; run again with --debug"
        echo(f"metabench: internal error: {reason}{advice}", err=True)
        return FAILED
    finally:
        if ends:  # what plugins print at exit is no output of the verb
            with suppress(OSError):  # stderr is closed
                os.dup2(2, 1)


def _refuse_empty(args: Sequence[str]) -> None:
    """Refuse an empty argument, usually a variable of a shell that is not set.

    As a path it would be the working folder.
    """
    for before, word in pairwise(args):
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            option = (word or before).removesuffix("=")
            what = option if option.startswith("-") else "an argument"
            raise UsageError(f"{what} is empty: give a value, or leave it out")


def _open_streams() -> None:
    """Let streams that the caller has closed (`2>&-`) lead nowhere.

    Otherwise, the next files to be opened would take their places, and be printed to.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the work as Ctrl-C does, unless the caller ignores them."""

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clean-up
        raise Ended(number)

    ours = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _terminal_is_gone() -> bool:
    """Return whether stdout is a terminal that has been closed: a pipe and a file take nothing."""
    try:
        os.write(1, b"")
    except OSError as error:
        return error.errno == errno.EIO
    return False


def _drop_output() -> None:
    """Discard buffered output, which cannot be written and must not be retried at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _place(error: SystemExit) -> str:
    """Return the line of a plugin that ended the process; metabench itself never does so."""
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if frame.filename != process_state.__file__][-1]
    return f"{last.filename}, line {last.lineno},"


def _report(error: click.ClickException | MetabenchError, debug: bool) -> int:
    """Print an error that the user can fix, in one line, and return its exit code."""
    if debug:
        traceback.print_exc()
    if isinstance(error, MetabenchError):
        echo(f"metabench: error: {shortened(str(error), _MAX_CHARS)}", err=True)
        return NOTHING if isinstance(error, NothingToRun) else USAGE
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if context is not None:
        message += f" See {context.command_path} --help."
    echo(f"metabench: error: {shortened(message, _MAX_CHARS)}", err=True)
    return error.exit_code
