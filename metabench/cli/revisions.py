"""The code, or a results folder, at a git revision."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metabench.errors import UsageError
from metabench.git import GitError, git
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
    with code_at_revision(name) as checkout:
        yield checkout


@contextmanager
def code_at_revision(name: str) -> Iterator[OlderCheckout]:
    """Yield the repository at a git revision.

    Raises:
        UsageError: there is no such revision.
    """
    try:
        top = Path(git("rev-parse", "--show-toplevel"))
        with _files_of(name, top) as folder:
            checkout = OlderCheckout(folder.resolve(), top.resolve())
            checkout.folder.mkdir(parents=True, exist_ok=True)  # the revision may not have it
            yield checkout
    except GitError as error:
        raise UsageError(f"--base {name}: no such folder, and {error}") from None


@contextmanager
def _files_of(tree: str, within: Path) -> Iterator[Path]:
    """Yield a temporary folder with all files of a tree, including those that archives omit."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, index = Path(temporary) / "files", Path(temporary) / "index"
        found = git("rev-parse", "--verify", "--end-of-options", tree, folder=within)
        git("read-tree", found, folder=within, index=index)
        git("checkout-index", "--all", f"--prefix={folder}/", folder=within, index=index)
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
        prefix = git("rev-parse", "--show-prefix", folder=where.parent)
        with _files_of(f"{name}:{prefix}{where.name}", where.parent) as folder:
            yield folder
    except GitError as error:
        raise UsageError(
            f"--diff {name}: no such folder, and git has no {results} there ({error})"
        ) from None
