"""Serve the commands of the supervisor in the learner process."""

from __future__ import annotations

from metabench.cell.messages import Batch, Channel, FromLearner, Measure, Progress, Start
from metabench.plugins.registry import load_plugins
from metabench.worker.base_data import Report
from metabench.worker.clock import now
from metabench.worker.memory_limit import limit_memory
from metabench.worker.session import Session, failure, open_session, setting_up

_SECONDS_BETWEEN_REPORTS = 0.2


def serve(channel: Channel) -> None:
    """Answer commands until the supervisor sends `Stop`.

    Raises:
        EOFError, BrokenPipeError: the supervisor is gone.
    """
    session: Session | None = None
    report = _throttled(channel)
    while True:
        command = channel.next_command()
        reply: FromLearner
        try:
            if isinstance(command, Start):
                with setting_up():
                    if command.memory_limit is not None:
                        limit_memory(command.memory_limit)
                    plugins = load_plugins(command.sources)
                session, reply = open_session(command, plugins, report)
            elif isinstance(command, Measure) and session is not None:
                reply = session.measure(command)
            elif isinstance(command, Batch) and session is not None:
                reply = session.answer(command)
            else:
                return
        except BaseException as error:  # SystemExit too: plugins must not end the process
            reply = failure(error)
        channel.send(reply)


def _throttled(channel: Channel) -> Report:
    """Return a function that reports progress, no more often than a person can follow."""
    last = -_SECONDS_BETWEEN_REPORTS

    def report(fraction: float, values: dict[str, float | None]) -> None:
        nonlocal last
        if values or now() - last >= _SECONDS_BETWEEN_REPORTS:
            last = now()
            channel.send(Progress(fraction=fraction, values=values))

    return report
