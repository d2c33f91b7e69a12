"""The battery in a separate process: a plugin that ends or hangs the process fails a check."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from metabench.checks.check_names import CHECKS, Outcome
from metabench.errors import MetabenchError, UsageError
from metabench.learner import Kind
from metabench.plugins.sources import PluginSources
from metabench.supervisor.killable_process import KillableProcess

_LOADING = 60.0  # least time limit in seconds for importing torch and the plugins
_CHILD = """
import json, sys
connection, order = int(sys.argv[1]), json.loads(sys.argv[3])
from metabench.checks.isolated_run import serve
serve(connection, **order)
"""
_ENDED = "look for sys.exit, os._exit and native code that crashes"
_SLOW = "look for endless loops, and for a smoke budget that is too large"


class Checked(NamedTuple):
    """The algorithm and kind of task that the next outcomes are about."""

    address: str
    kind: Kind
    file: str


def check_apart(
    name: str, sources: PluginSources, seconds: float
) -> Generator[Checked | Outcome, None, None]:
    """Run every check of an algorithm in a child process, for each kind of task it supports.

    Closing the generator kills the child and everything that the plugin started.

    Args:
        name: address of the algorithm.
        sources: where plugins come from.
        seconds: time limit of one check.

    Yields:
        What is checked, then the outcome of each check.

    Raises:
        UsageError: there is no such algorithm.
    """
    order = json.dumps({"sources": asdict(sources), "name": name})
    process = KillableProcess(_CHILD, order, grace=5)
    left: list[str] = []
    try:
        while True:
            limit = seconds if left else max(seconds, _LOADING)
            try:
                if not process.wait_for_message(limit):
                    yield from _broken(left, f"it did not end within {limit:g} s", _SLOW)
                    return
                message = json.loads(process.connection.recv_bytes())
            except (EOFError, OSError):
                yield from _broken(left, f"the process ended ({process.ending() or '?'})", _ENDED)
                return
            if "error" in message:
                raise UsageError(message["error"])
            if "done" in message:
                return
            if "address" in message:
                left = list(CHECKS)
                yield Checked(**message)
            else:
                outcome = Outcome(**message)
                left.remove(outcome.check)
                yield outcome
    finally:
        process.kill()
        process.close()


def _broken(left: list[str], what: str, advice: str) -> Iterator[Outcome]:
    """Yield a failure for the check that was running, and skip those after it."""
    running, *others = left or ["loading"]
    yield Outcome(running, "failed", what, advice)
    yield from (Outcome(name, "skipped", "the process has ended") for name in others)


def serve(descriptor: int, sources: dict[str, Any], name: str) -> None:
    """Run the checks in the child process, and send what they find to the parent."""
    from metabench.checks.check_runner import run_battery
    from metabench.checks.checked_algorithm import find_subjects
    from metabench.plugins.registry import load_plugins

    connection = Connection(descriptor)

    def send(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        plugins = load_plugins(PluginSources(**sources))
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
