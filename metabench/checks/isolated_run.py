"""The battery in a separate process: a plugin that ends or hangs the process fails a check."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from dataclasses import asdict
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, NamedTuple

from metabench.checks.bounded_output import BoundedOutput
from metabench.checks.check_names import CHECKS, FIRST, LOADING, Outcome
from metabench.errors import MetabenchError, UsageError
from metabench.learner import Kind
from metabench.plugins.sources import PluginSources
from metabench.supervisor.killable_process import KillableProcess
from metabench.text import one_line

_GRACE = 5.0  # seconds for the child to end
_LOADING = 60.0  # least time limit in seconds for importing torch and the plugins
_CHILD = """
import json, sys
connection, order = int(sys.argv[1]), json.loads(sys.argv[3])
from metabench.checks.isolated_run import serve
serve(connection, **order)
"""
_ENDED = "look for sys.exit, os._exit and native code that crashes"
_SLOW = (
    "look for endless loops, and for a smoke budget that is too large, or raise the limit with "
    "--time-limit"
)


class Checked(NamedTuple):
    """The algorithm and kind of task that the next outcomes are about."""

    address: str
    kind: Kind
    file: str


def check_apart(
    name: str, sources: PluginSources, seconds: float
) -> Generator[Checked | Outcome, None, None]:
    """Run every check of an algorithm in a child process, for each kind of task it supports.

    After a check that ends or hangs the process, the others run in a new one. Closing the
    generator kills the child and everything that the plugin started.

    Args:
        name: address of the algorithm.
        sources: where plugins come from.
        seconds: time limit of one check.

    Yields:
        What is checked, then the outcome of each check.

    Raises:
        UsageError: there is no such algorithm.
    """
    done: dict[Kind, list[str]] = {}
    ended = False
    while not ended:
        order = json.dumps({"sources": asdict(sources), "name": name, "done": done})
        pipe, output = os.pipe()
        try:
            printed = BoundedOutput(pipe)
            process = KillableProcess(_CHILD, order, grace=_GRACE, output=output)
        finally:
            os.close(output)
        try:
            ended = yield from _follow(process, done, seconds)
        finally:
            process.kill()
            process.close()
            printed.close(_GRACE)


def _follow(
    process: KillableProcess, done: dict[Kind, list[str]], seconds: float
) -> Generator[Checked | Outcome, None, bool]:
    """Yield what a child process finds, and the failure of the check that ends or hangs it.

    Args:
        process: the child.
        done: the checks that are done; more are added.
        seconds: time limit of one check.

    Returns:
        True if there is nothing left to check.
    """
    kind: Kind | None = None
    while True:
        limit, since = seconds if kind else max(seconds, _LOADING), perf_counter()
        try:
            if not process.wait_for_message(limit):
                advice = _SLOW
                if started := process.started():
                    advice = f"end the processes that it has started ({started}), or {_SLOW}"
                problem = f"it did not end within {limit:g} s", advice
                break
            message = json.loads(process.connection.recv_bytes())
        except (EOFError, OSError):
            problem = f"the process ended ({process.ending() or '?'})", _ENDED
            break
        if "error" in message:
            raise UsageError(message["error"])
        if "done" in message:
            for line in message["done"]:
                yield Outcome(LOADING, "failed", line, "correct the plugin, or do not name it")
            return True
        if "address" in message:
            checked = Checked(**message)
            kind = checked.kind
            if kind not in done:
                done[kind] = []
                yield checked
        elif kind is not None:
            outcome = Outcome(**message)
            done[kind].append(outcome.check)
            yield outcome
    left = [LOADING] if kind is None else [name for name in CHECKS if name not in done[kind]]
    running, *others = left or ["the end"]
    yield Outcome(running, "failed", *problem, seconds=perf_counter() - since)
    if kind is None or not left:
        return True
    done[kind].append(running)
    for name in others if running in FIRST else ():
        done[kind].append(name)
        yield Outcome(name, "skipped", f"{running} failed")
    return False


def serve(descriptor: int, sources: dict[str, Any], name: str, done: dict[Kind, list[str]]) -> None:
    """Run the checks in the child process, and send what they find to the parent."""
    from metabench.checks.check_runner import CAUGHT, run_battery
    from metabench.checks.checked_algorithm import find_subjects
    from metabench.plugins.registry import load_plugins

    connection = Connection(descriptor)

    def send(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        plugins = load_plugins(PluginSources(**sources))
        for line in plugins.warnings:
            print(f"metabench: warning: {one_line(line)}", file=sys.stderr)
        subjects = find_subjects(name, plugins)
    except MetabenchError as error:
        send({"error": str(error)})
        return
    for subject in subjects:
        left = [check for check in CHECKS if check not in done.get(subject.kind, ())]
        if not left:
            continue
        checked = Checked(subject.configured.address, subject.kind, str(subject.file or ""))
        send(checked._asdict())
        # Ctrl-C does not reach this process, so a KeyboardInterrupt is the plugin's own.
        for outcome in run_battery(subject, left, (*CAUGHT, KeyboardInterrupt)):
            send(outcome._asdict())
    send({"done": plugins.not_loaded})
