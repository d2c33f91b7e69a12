"""The code, or a results folder, at a git revision."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metabench.errors import UsageError
from metabench.supervisor.older_checkout import OlderCheckout


@contextmanager
def code_at(name: str) -> Iterator[OlderCheckout]:
    """Yield the folder `name`, or the repository at the git revision of that name.

    Raises:
        UsageError: there is no such folder and no such revision.
    """
    if Path(name).is_dir():
        yield OlderCheckout(Path(name).absolute(), Path.cwd())
        return
    try:
        top = Path(_git("rev-parse", "--show-toplevel"))
        with _files_of(name, top) as folder:
            checkout = OlderCheckout(folder.resolve(), top.resolve())
            checkout.folder.mkdir(parents=True, exist_ok=True)  # the revision may not have it
            yield checkout
    except GitError as error:
        raise UsageError(f"--base {name}: no such folder, and {error}") from None


class GitError(Exception):
    """An error reported by git."""


def _git(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        ["git", *arguments], capture_output=True, env={**os.environ, **environment}
    )
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git says: {why[-1] if why else 'nothing'}")
    return done.stdout.decode().strip()


@contextmanager
def _files_of(tree: str, within: Path) -> Iterator[Path]:
    """Yield a temporary folder with all files of a tree, including those that archives omit."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, index = Path(temporary) / "files", str(Path(temporary) / "index")
        _git("-C", str(within), "read-tree", tree, GIT_INDEX_FILE=index)
        every = ("checkout-index", "--all", f"--prefix={folder}/")
        _git("-C", str(within), *every, GIT_INDEX_FILE=index)
        yield folder


@contextmanager
def results_at(name: str, results: Path) -> Iterator[Path]:
    """Yield the folder `name`, or the results folder at the git revision of that name.

    Raises:
        UsageError: there is no such folder and no such revision with results.
    """
    if Path(name).is_dir():
        yield Path(name)
        return
    where = results.absolute()
    try:
        prefix = _git("-C", str(where.parent), "rev-parse", "--show-prefix")
        with _files_of(f"{name}:{prefix}{where.name}", where.parent) as folder:
            yield folder
    except GitError as error:
        raise UsageError(
            f"--diff {name}: no such folder, and git has no {results} there ({error})"
        ) from None
