"""Calls of git that run nothing of a folder's own and change nothing in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SECONDS = 20  # on a slow disk, `git status` of a large folder takes long
# Programs that the configuration of a folder may name.
_SAFE = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")


class GitError(Exception):
    """An error reported by git, or the lack of it."""


def git(*arguments: str, folder: Path | None = None, index: Path | None = None) -> str:
    """Return what git prints.

    Variables of git in the environment are ignored, because in a hook they name another folder.

    Args:
        arguments: the command; names from outside must come after "--end-of-options".
        folder: where it runs; None: the working folder.
        index: a file to use as the index.

    Raises:
        GitError: git fails, takes too long, or is not installed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    try:
        done = subprocess.run(
            ["git", *_SAFE, *arguments],
            capture_output=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git took more than {_SECONDS} s") from error
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git says: {why[-1] if why else 'nothing'}")
    return os.fsdecode(done.stdout).strip()
