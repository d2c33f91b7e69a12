"""The battery in a process of its own: a plugin that ends it, or never ends, fails a check."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from metabench.conformance.names import NAMES, Outcome
from metabench.doors import Doors
from metabench.errors import MetabenchError, UsageError
from metabench.learner import Kind

SECONDS = 120.0  # that one check may take

_ENDED = "look for sys.exit, os._exit and native code that crashes"
_SLOW = "look for loops that need not end, and for a smoke budget that is too large"


class Checked(NamedTuple):
    """Whose outcomes follow."""

    address: str
    kind: Kind
    file: str


def check_apart(name: str, doors: Doors, seconds: float = SECONDS) -> Iterator[Checked | Outcome]:
    """Run every check of an algorithm in a child process, for each kind of task that it does.

    Args:
        name: its address.
        doors: where plugins come from.
        seconds: that one check may take.

    Yields:
        What is checked, then the outcome of each check.

    Raises:
        UsageError: there is no such algorithm.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, asdict(doors), name), daemon=True)
    process.start()
    theirs.close()
    left: list[str] = []
    try:
        while True:
            if not ours.poll(seconds):
                yield from _broken(left, f"it did not end within {seconds:g} s", _SLOW)
                return
            try:
                message = json.loads(ours.recv_bytes())
            except EOFError:
                process.join()
                yield from _broken(left, f"the process ended ({_how(process.exitcode)})", _ENDED)
                return
            if "error" in message:
                raise UsageError(message["error"])
            if "done" in message:
                return
            if "address" in message:
                left = list(NAMES)
                yield Checked(**message)
            else:
                outcome = Outcome(**message)
                left.remove(outcome.check)
                yield outcome
    finally:
        process.kill()
        process.join()
        ours.close()


def _broken(left: list[str], what: str, advice: str) -> Iterator[Outcome]:
    """The check that was under way failed; those behind it cannot be run."""
    for k, name in enumerate(left or ["loading"]):
        if k == 0:
            yield Outcome(name, "failed", what, advice)
        else:
            yield Outcome(name, "skipped", "the process is gone")


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(connection: Connection, doors: dict[str, Any], name: str) -> None:
    """The child's side."""
    os.dup2(2, 1)  # what a plugin prints is no part of the table
    sys.stdout = sys.stderr
    from metabench.conformance.battery import run_battery
    from metabench.conformance.subjects import find_subjects
    from metabench.plugins import load_plugins

    def send(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        plugins = load_plugins(Doors(**doors))
        for line in plugins.warnings:
            print(f"metabench: warning: {line}", file=sys.stderr)
        subjects = find_subjects(name, plugins)
    except MetabenchError as error:
        send({"error": str(error)})
        return
    for subject in subjects:
        checked = Checked(subject.configured.address, subject.kind, str(subject.file or ""))
        send(checked._asdict())
        for outcome in run_battery(subject):
            send(outcome._asdict())
    send({"done": True})
