"""A results folder as it was at a git revision."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metabench.errors import UsageError


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
        command = ["git", "-C", str(where.parent), "archive", name, "--", where.name]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines()
            raise UsageError(
                f"--diff {name}: no such folder, and git has no {results} there "
                f"({why[-1] if why else 'git failed'})"
            )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder) / where.name
