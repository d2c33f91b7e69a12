"""A results folder, or the code, as it was at a git revision."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metabench.errors import UsageError
from metabench.harness.home import Home


@contextmanager
def code_at(name: str) -> Iterator[Home]:
    """The folder `name`, or the repository as a git revision of that name has it.

    Raises:
        UsageError: there is no such folder, and no such revision.
    """
    if Path(name).is_dir():
        yield Home(Path(name).absolute(), Path.cwd())
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            top = _git("rev-parse", "--show-toplevel").decode().strip()
            _extract(_git("-C", top, "archive", name), folder)
        except UsageError as error:
            raise UsageError(f"--base {name}: no such folder, and {error}") from None
        home = Home(Path(folder).resolve(), Path(top).resolve())
        home.folder.mkdir(parents=True, exist_ok=True)  # it may be newer than the revision
        yield home


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(f"git says: {why[-1] if why else 'nothing'}")
    return done.stdout


def _extract(archive: bytes, folder: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")


@contextmanager
def results_at(name: str, results: Path) -> Iterator[Path]:
    """The folder `name`, or the results folder as a git revision of that name has it.

    Raises:
        UsageError: there is no such folder, and no such revision with results in it.
    """
    if Path(name).is_dir():
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as folder:
        where = results.absolute()
        try:
            archive = _git("-C", str(where.parent), "archive", name, "--", where.name)
        except UsageError as error:
            raise UsageError(
                f"--diff {name}: no such folder, and git has no {results} there ({error})"
            ) from None
        _extract(archive, folder)
        yield Path(folder) / where.name
