"""Runs at work on this machine, visible to each other wherever their temporary files are."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import sys
import threading
from pathlib import Path

from metabench.leftovers import others, remove_leftovers, temporary_name

_NAME = "metabench-run"
_SOCKETS = Path("/proc/net/unix")  # Linux lists all of them here, with their names
_SHARED = Path("/tmp")  # elsewhere: unlike TMPDIR, the same for every user and batch job


class _Thread(threading.local):
    def __init__(self) -> None:
        self.token = secrets.token_hex(8)


_thread = _Thread()


class ActiveRun:
    """A run that others on the machine can see until it is closed or its process ends.

    On Linux it holds the name of an abstract socket. Such a name needs no folder and no
    permissions, is the same under every TMPDIR, and disappears with the process. Other systems
    have no such names: there it is a file that names the process.

    Runs of one thread are one run: some commands open suites twice.
    """

    def __init__(self) -> None:
        self._owner = f"{os.getpid()}_{_thread.token}"
        self._shown = contextlib.ExitStack()
        with contextlib.suppress(OSError):  # an unseen run is better than none
            if sys.platform == "linux":
                shown = self._shown.enter_context(socket.socket(socket.AF_UNIX))
                shown.bind(f"\0{_NAME}-{self._owner}-{secrets.token_hex(4)}")
            else:
                remove_leftovers(_files())
                file = _SHARED / temporary_name(_NAME)
                file.touch()
                self._shown.callback(file.unlink, missing_ok=True)

    def alone(self) -> bool:
        """Return whether no other run is active on the machine, as far as it can be seen."""
        if sys.platform != "linux":
            return not others(_files())
        try:
            listed = _SOCKETS.read_bytes()
        except OSError:
            return True
        owners = re.findall(rb"@%s-(\w+)-\w+$" % _NAME.encode(), listed, re.MULTILINE)
        return set(owners) <= {self._owner.encode()}

    def close(self) -> None:
        """Stop being visible."""
        self._shown.close()


def _files() -> list[Path]:
    return list(_SHARED.glob(f".{_NAME}.*.tmp"))
