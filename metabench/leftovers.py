"""Temporary files that name the process that makes them, and the removal of those it left."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

_MAX_NAME = 80  # characters of the name that a temporary file is for


def temporary_name(name: str) -> str:
    """Return a new hidden name that identifies the process that makes the file."""
    pid = os.getpid()
    owner = f"{_host()}-{pid}-{_started(pid)}"
    return f".{name[:_MAX_NAME]}.{owner}-{secrets.token_hex(4)}.tmp"


def remove_leftovers(found: Iterable[Path]) -> None:
    """Remove those files and folders named by `temporary_name` whose process is gone.

    Processes of other machines are unknown here, so their files stay.
    """
    for path in found:
        owner = _made_by(path)
        if owner is None or _lives(*owner):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a file of another user
                path.unlink(missing_ok=True)


def others(found: Iterable[Path]) -> list[Path]:
    """List those files and folders named by `temporary_name` that other processes still use."""
    owners = [(path, _made_by(path)) for path in found]
    return [
        path
        for path, owner in owners
        if owner is not None and owner[0] != os.getpid() and _lives(*owner)
    ]


def _made_by(path: Path) -> tuple[int, int] | None:
    """Return the process of this machine that made a temporary file, and when it started."""
    match = re.fullmatch(r"\..*\.(.*)-(\d+)-(\d+)-[0-9a-f]{8}\.tmp", path.name)
    return (int(match[2]), int(match[3])) if match is not None and match[1] == _host() else None


def _started(pid: int) -> int:
    """Return when a process started, in ticks since the system did; 0 if that is unknown.

    Process numbers are reused, and soon after a restart of the system.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def _host() -> str:
    """Return a name of the machine, or of the container, because each numbers its processes."""
    host = re.sub(r"[^A-Za-z0-9-]", "_", platform.node()) or "here"
    try:
        return f"{host}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return host


def _lives(pid: int, started: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        pass
    return _started(pid) in (0, started)
