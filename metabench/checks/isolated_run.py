"""The battery in a separate process: a plugin that ends or hangs the process fails a check."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

from metabench.checks.check_names import CHECKS, Outcome
from metabench.errors import MetabenchError, UsageError
from metabench.learner import Kind
from metabench.plugins.sources import Doors
from metabench.supervisor import guardian

SECONDS = 120.0  # time limit of one check

_LOADING = 60.0  # least time limit in seconds for importing torch and the plugins
_CHILD = """
import json, sys
connection, order = int(sys.argv[1]), json.loads(sys.argv[2])
sys.path[:] = order.pop("path")
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
    name: str, sources: Doors, seconds: float = SECONDS
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
    ours, theirs = Pipe(duplex=False)
    lifeline, held = os.pipe()
    order = json.dumps({"path": sys.path, "sources": asdict(sources), "name": name})
    process = subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", guardian.__file__, str(lifeline), "0"),
            *(sys.executable, "-c", _CHILD, str(theirs.fileno()), order),
        ],
        stdin=subprocess.DEVNULL,
        stdout=2,  # text that a plugin prints is not part of the table
        pass_fds=(theirs.fileno(), lifeline),
        start_new_session=True,
    )
    theirs.close()
    os.close(lifeline)
    left: list[str] = []
    try:
        while True:
            limit = seconds if left else max(seconds, _LOADING)
            try:
                if not ours.poll(limit):
                    yield from _broken(left, f"it did not end within {limit:g} s", _SLOW)
                    return
                message = json.loads(ours.recv_bytes())
            except (EOFError, OSError):
                yield from _broken(left, f"the process ended ({_how(process.wait())})", _ENDED)
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
        os.close(held)  # the guardian kills whatever still runs
        process.wait()
        ours.close()


def _broken(left: list[str], what: str, advice: str) -> Iterator[Outcome]:
    """Yield a failure for the check that was running, and skip those after it."""
    for k, name in enumerate(left or ["loading"]):
        if k == 0:
            yield Outcome(name, "failed", what, advice)
        else:
            yield Outcome(name, "skipped", "the process has ended")


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def serve(descriptor: int, sources: dict[str, Any], name: str) -> None:
    """Run the checks in the child process, and send what they find to the parent."""
    from metabench.checks.check_runner import run_battery
    from metabench.checks.checked_algorithm import find_subjects
    from metabench.plugins.registry import load_plugins

    connection = Connection(descriptor, readable=False)

    def send(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        plugins = load_plugins(Doors(**sources))
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
