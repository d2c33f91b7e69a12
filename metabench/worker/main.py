"""The learner process: `python -m metabench.worker.main FD LIFELINE`.

It is started anew for every cell, so that no algorithm inherits another's memory, seeds or
crashes. Whatever the plugin raises becomes a message; whatever kills the process, the
supervisor notices.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from metabench.cell.messages import Channel


def main() -> None:
    """Serve one supervisor until it says stop or goes away."""
    channel = Channel(Connection(int(sys.argv[1])))
    os.register_at_fork(after_in_child=channel.close)  # a plugin's child must not keep it open
    _die_with_supervisor(int(sys.argv[2]))
    try:
        _serving()(channel)
    except (EOFError, BrokenPipeError):
        _end_group()  # the supervisor is gone, and nobody is left to tell
    # Threads or exit handlers of a plugin must not keep a finished cell waiting.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serving() -> Callable[[Channel], None]:
    """Import what serves, and torch with it.

    None of that is ever garbage. Left to itself, Python would look through it again and again,
    a tenth of a second each time: while it is imported, and at every full collection after.
    """
    gc.disable()
    from metabench.worker.serving import serve

    gc.freeze()
    gc.enable()
    return serve


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
