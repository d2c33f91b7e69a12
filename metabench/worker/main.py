"""The learner process, which is started with two arguments: FD and LIFELINE.

Every cell gets a new process, so that no algorithm inherits another's memory, seeds or crashes.
Whatever the plugin raises becomes a message. If the process is killed, the supervisor notices.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

from metabench.cell.messages import Channel, Failed
from metabench.errors import reason
from metabench.threads import thread_starts


def main() -> None:
    """Serve one supervisor until it sends `Stop` or is gone."""
    channel = Channel(Connection(int(sys.argv[1])))
    os.register_at_fork(after_in_child=channel.close)  # a plugin's child must not keep it open
    try:
        _begun(int(sys.argv[2]))(channel)
    except (EOFError, BrokenPipeError):
        _end_group()  # the supervisor is gone, and nobody needs a message
    # Threads or exit handlers of a plugin must not keep a finished cell waiting.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _begun(lifeline: int) -> Callable[[Channel], None]:
    """Return the function that serves a channel; if this process cannot begin, one that refuses."""
    try:
        with thread_starts():
            _die_with_supervisor(lifeline)
        return _serving()
    except BaseException as error:  # of the machine, because nothing of a plugin has run yet
        traceback.print_exc()
        return partial(_refuse, reason(error))


def _refuse(why: str, channel: Channel) -> None:
    channel.next_command()
    channel.send(Failed("interrupted", f"the learner process could not begin: {why}", ""))


def _serving() -> Callable[[Channel], None]:
    """Import the serving code, and torch with it, without garbage collection.

    None of these objects is ever garbage. By default Python would scan them again and again, for
    a tenth of a second each time: during the import, and at every full collection afterwards.
    """
    gc.disable()
    from metabench.worker.serving import serve

    gc.freeze()
    gc.enable()
    return serve


def _die_with_supervisor(lifeline: int) -> None:
    """End this process and its children when the supervisor is gone, however it ended."""

    def watch() -> None:
        os.read(lifeline, 1)
        _end_group()

    threading.Thread(target=watch, daemon=True).start()


def _end_group() -> None:
    """Kill this process and its plugin's children, which form a process group."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
