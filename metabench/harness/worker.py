"""The learner process: `python -m metabench.harness.worker FD LIFELINE`.

It is started anew for every cell, so that no algorithm inherits another's memory, seeds or
crashes. Whatever the plugin raises becomes a message; whatever kills the process, the
supervisor notices.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection

from metabench.doors import Doors
from metabench.harness.base import Report
from metabench.harness.clock import now
from metabench.harness.limits import limit_memory
from metabench.harness.messages import Batch, Channel, FromLearner, Measure, Progress, Start
from metabench.harness.session import Session, failure, open_session
from metabench.plugins import load_plugins

_SECONDS_BETWEEN_REPORTS = 0.2


def main() -> None:
    """Serve one supervisor until it says stop or goes away."""
    channel = Channel(Connection(int(sys.argv[1])))
    os.register_at_fork(after_in_child=channel.close)  # a plugin's child must not keep it open
    _die_with_supervisor(int(sys.argv[2]))
    try:
        _serve(channel)
    except (EOFError, BrokenPipeError):
        _end_group()  # the supervisor is gone, and nobody is left to tell
    # Threads or exit handlers of a plugin must not keep a finished cell waiting.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve(channel: Channel) -> None:
    session: Session | None = None
    report = _throttled(channel)
    while True:
        order = channel.next_order()
        reply: FromLearner
        try:
            if isinstance(order, Start):
                if order.memory_limit is not None:
                    limit_memory(order.memory_limit)
                plugins = load_plugins(Doors(**order.doors))
                session, reply = open_session(order, plugins, report)
            elif isinstance(order, Measure) and session is not None:
                reply = session.measure(order)
            elif isinstance(order, Batch) and session is not None:
                reply = session.answer(order)
            else:
                return
        except BaseException as error:  # also SystemExit: plugins are not to end the process
            reply = failure(error)
        channel.send(reply)


def _throttled(channel: Channel) -> Report:
    """Report progress, but no more than a person can watch."""
    last = -_SECONDS_BETWEEN_REPORTS

    def report(fraction: float, values: dict[str, float | None]) -> None:
        nonlocal last
        if values or now() - last >= _SECONDS_BETWEEN_REPORTS:
            last = now()
            channel.send(Progress(fraction=fraction, values=values))

    return report


def _die_with_supervisor(lifeline: int) -> None:
    """End this process and its children when the supervisor is gone, however it died."""

    def watch() -> None:
        os.read(lifeline, 1)
        _end_group()

    threading.Thread(target=watch, daemon=True).start()


def _end_group() -> None:
    """Kill this process and the children of its plugin; it leads a group of its own."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
