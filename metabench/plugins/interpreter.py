"""Parts of Python that a plugin may break when it is imported: compared, and put back."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Their functions and classes are compared, except those that metabench itself replaces.
_OWNERS = (builtins, json, os, os.path, subprocess, time, Path, threading.Thread)
_OURS = ("_exit",)
_STREAMS = ("stdin", "stdout", "stderr")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@contextmanager
def kept_whole(changed: list[str]) -> Iterator[None]:
    """Put back what the block replaces, closes or removes, and add its name to a list.

    What it adds stays, as well as a higher recursion limit.
    """
    before = [
        (owner, name, value)
        for owner in _OWNERS
        for name, value in owner.__dict__.items()
        if callable(value) and name not in _OURS
    ]
    before += [(sys, name, getattr(sys, name)) for name in _STREAMS]
    names = builtins.__dict__.copy()
    lists = {name: list(getattr(sys, name)) for name in ("path", "meta_path")}
    environment, depth = dict(os.environ), sys.getrecursionlimit()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    copies = dict(_copies())
    mask = os.umask(0o077)  # the only way to read it; a file that a thread makes now is private
    os.umask(mask)
    try:
        yield
    finally:
        broken = builtins.__dict__.copy()
        builtins.__dict__.update(names)  # first: everything below uses them
        if sys.getrecursionlimit() < depth:
            sys.setrecursionlimit(depth)
            changed.append("Python's recursion limit")
        for owner, name, value in before:
            now = broken if owner is builtins else owner.__dict__
            if now.get(name) is not value:
                setattr(owner, name, value)
                changed.append(f"{owner.__name__}.{name}")
        if os.umask(mask) != mask:
            changed.append("the umask")
        for name, entries in lists.items():
            if lost := [entry for entry in entries if entry not in getattr(sys, name)]:
                getattr(sys, name).extend(lost)
                changed.append(f"sys.{name}")
        if environment.keys() - os.environ.keys():
            os.environ.update({**environment, **os.environ})
            changed.append("the environment")
        for which, handler in handlers.items():
            if signal.getsignal(which) != handler:
                with suppress(ValueError, TypeError):  # not the main thread; unknown to Python
                    signal.signal(which, handler)
                    changed.append(f"the handler of {which.name}")
        for number, copy in copies.items():
            if not _same(number, copy):
                os.dup2(copy, number)
                changed.append(f"file descriptor {number}")
            os.close(copy)


def _copies() -> Iterator[tuple[int, int]]:
    """Yield each standard stream that is open with a copy of its file descriptor."""
    for number in range(len(_STREAMS)):
        with suppress(OSError):
            yield number, os.dup(number)


def _same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:  # closed
        return False
