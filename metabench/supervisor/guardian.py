"""The parent of one learner process: it kills the process and all that it leaves behind.

`python -I -S guardian.py LIFELINE GRACE COMMAND...` runs the command in a session of its own and
ends with its exit code or signal. On SIGTERM the command gets SIGTERM, and GRACE seconds later
SIGKILL. When the supervisor's end of the lifeline closes, everything is killed at once. Processes
that the command started and left behind, daemons included, are always killed: on Linux, orphans
become children of this process.

A thread of the learner process could not do this, because a plugin may hold the interpreter's lock
or stop its process. This file imports nothing of metabench, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LINUX = sys.platform == "linux"


def main() -> None:
    """Run the command until it ends or is killed."""
    lifeline, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup, signalled = os.pipe()
    for end in (wakeup, signalled):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(signalled)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    child = _start(command)
    # The command's own pipes must close when it closes them or ends.
    kept = (0, 1, 2, lifeline, wakeup, signalled)
    for end in map(int, os.listdir("/dev/fd")):  # noqa: PTH208  pathlib takes long to import
        if end not in kept:
            with contextlib.suppress(OSError):  # the one that listed them is closed already
                os.close(end)
    waiting = select.poll()  # select() refuses descriptors above 1,023
    for end in (lifeline, wakeup):
        waiting.register(end, select.POLLIN)
    deadline = None
    while True:
        left = None if deadline is None else 1000 * max(0.0, deadline - time.monotonic())
        ready = [end for end, _ in waiting.poll(left)]
        signals = os.read(wakeup, 1024) if wakeup in ready else b""
        if lifeline in ready or not ready:
            _kill_descendants(child)
        if signal.SIGTERM in signals and deadline is None:
            deadline = time.monotonic() + grace
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGTERM)
        status = _reaped(child)
        if status is not None:
            _kill_descendants(child)
            _end_like(status)


def _start(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    os.setsid()
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.execv(command[0], command)


def _reaped(child: int) -> int | None:
    """Return the status of the command if it has ended; reap orphans that have ended too."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == child:
                status = found[1]
    return status


def _kill_descendants(child: int) -> None:
    """Kill the command's group and all processes below this one, until none is left."""
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    for _ in range(1000):  # a killed process may have forked just before
        alive = descendants(os.getpid()) if _LINUX else []
        if not alive:
            return
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
        for pid in alive:
            if pid != child:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)


def descendants(root: int) -> list[int]:
    """Return the processes below another that have not ended, from /proc."""
    children: dict[int, list[int]] = {}
    ended: set[int] = set()
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  pathlib takes long to import
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:  # noqa: PTH123
            state, parent = file.read().rpartition(")")[2].split()[:2]
            children.setdefault(int(parent), []).append(int(name))
            if state == "Z":
                ended.add(int(name))
    found, look = [], [root]
    while look:
        below = children.get(look.pop(), [])
        found += below
        look += below
    return [pid for pid in found if pid not in ended]


def _end_like(status: int) -> None:
    """End by the command's signal, or with its exit code."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(10)  # until it is delivered
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
