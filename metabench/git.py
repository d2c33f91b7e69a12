"""Calls of git that run no program of a folder's configuration, and fetch or change nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_SECONDS = 20  # on a slow disk, `git status` of a large folder takes long
_QUICK = 5  # seconds that reading the configuration may take
# Programs that the configuration of a folder may name. Filters, which have any name, are below.
_SAFE = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
# A partial clone would fetch objects that it lacks, by a program that its configuration may name.
# Versions of git before 2.45 know the second variable only: no protocol is called "none".
_NO_FETCH = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}


_unanswered: set[str] = set()  # commands that took too long, so that none does so twice


class GitError(Exception):
    """An error reported by git, or the lack of it."""


class GitTimeout(GitError):
    """A command of git that took too long for the first time in this process."""


def git(*arguments: str, folder: Path | None = None, index: Path | None = None) -> str:
    """Return what git prints.

    Filters, such as those of Git LFS, are off: files are compared and written as they are stored.
    Variables of git in the environment are ignored, because in a hook they name another folder.

    Args:
        arguments: the command; names from outside must come after "--end-of-options".
        folder: where it runs; None: the working folder.
        index: a file to use as the index.

    Raises:
        GitError: git fails, takes too long, or is not installed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _NO_FETCH
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    listed = _run(
        (), ("config", "--null", "--name-only", "--get-regexp", r"^filter\."), folder, environment
    )
    if listed.returncode > 1:  # 1: there are none
        raise GitError(_said(listed))
    options: list[str] = []
    for key in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if "=" in key:  # "-c" takes what follows for the value
            raise GitError(f"the name of {key} contains '=', so it cannot be switched off")
        options += ["-c", f"{key}="]
    done = _run(options, arguments, folder, environment)
    if done.returncode:
        raise GitError(_said(done))
    return os.fsdecode(done.stdout).strip()


def _run(
    options: Sequence[str],
    arguments: Sequence[str],
    folder: Path | None,
    environment: Mapping[str, str],
) -> subprocess.CompletedProcess[bytes]:
    command, seconds = arguments[0], _QUICK if arguments[0] == "config" else _SECONDS
    if command in _unanswered:
        raise GitError("git took too long before")
    try:
        return subprocess.run(
            ["git", *_SAFE, *options, *arguments],
            capture_output=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        _unanswered.add(command)
        raise GitTimeout(f"git took more than {seconds} s") from error


def _said(failed: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line of what git printed to stderr."""
    lines = failed.stderr.decode(errors="replace").strip().splitlines()
    return f"git says: {lines[-1] if lines else 'nothing'}"
