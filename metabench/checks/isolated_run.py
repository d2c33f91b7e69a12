"""The battery in a process of its own: a plugin that ends it, or never ends, fails a check."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

from metabench.checks.check_names import NAMES, Outcome
from metabench.errors import MetabenchError, UsageError
from metabench.learner import Kind
from metabench.plugins.sources import Doors

SECONDS = 120.0  # that one check may take

_SECONDS_BETWEEN_LOOKS = 0.5
_ENDED = "look for sys.exit, os._exit and native code that crashes"
_SLOW = "look for loops that need not end, and for a smoke budget that is too large"


class Checked(NamedTuple):
    """Whose outcomes follow."""

    address: str
    kind: Kind
    file: str


def check_apart(
    name: str, doors: Doors, seconds: float = SECONDS
) -> Generator[Checked | Outcome, None, None]:
    """Run every check of an algorithm in a child process, for each kind of task that it does.

    Close it: the child ends then, and all that the plugin started.

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
    # A daemon might have no children, and a learner may well load its data with some.
    process = context.Process(target=_serve, args=(theirs, asdict(doors), name), daemon=False)
    process.start()
    theirs.close()
    left: list[str] = []
    try:
        while True:
            try:
                message = json.loads(_receive(ours, process, seconds))
            except TimeoutError:
                yield from _broken(left, f"it did not end within {seconds:g} s", _SLOW)
                return
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
        _end(process)
        ours.close()


def _receive(connection: Connection, process: SpawnProcess, seconds: float) -> bytes:
    """The next message.

    Raises:
        TimeoutError: there is none within some seconds.
        EOFError: the process has ended; what it started may still hold the other end.
    """
    deadline = time.monotonic() + seconds
    while not connection.poll(min(_SECONDS_BETWEEN_LOOKS, deadline - time.monotonic())):
        if not process.is_alive() and not connection.poll(0):
            raise EOFError
        if time.monotonic() >= deadline:
            raise TimeoutError
    return connection.recv_bytes()


def _end(process: SpawnProcess) -> None:
    """Kill the child and the processes that its plugin started."""
    assert process.pid is not None
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not lead its group yet
    process.join()


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
    _lead_a_group()
    os.dup2(2, 1)  # what a plugin prints is no part of the table
    sys.stdout = sys.stderr
    from metabench.checks.check_runner import run_battery
    from metabench.checks.find_checked import find_subjects
    from metabench.plugins.registry import load_plugins

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


def _lead_a_group() -> None:
    """Have a session of its own, which ends when the parent has, however that was ended."""
    os.setsid()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
