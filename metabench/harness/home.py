"""A folder with another version of the code, in which learner processes can be started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metabench.doors import Doors
from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.harness.cell import Cell

# Runs on the older code, whose modules may have had other names.
_ASK = """
import json, sys
from metabench.doors import Doors
from metabench.plugins import load_plugins
asked = json.load(sys.stdin)
plugins = load_plugins(Doors(**asked["doors"]))
found = plugins.algorithm(asked["name"])
of_cell = asked["name"], asked["params"], asked["kind"]
try:
    from metabench.code_digest import cell_code
    digest = cell_code(plugins, *of_cell, asked["suite_code"]).digest
except ImportError:  # code before definitions were told from files
    from metabench.source import cell_code
    digest = cell_code(plugins, *of_cell)
print(json.dumps([digest, str(found.origin or "")]))
"""


class Code(NamedTuple):
    """Which code an algorithm runs on."""

    digest: str
    origin: str  # the plugin's file; "" where it cannot be told


@dataclass(frozen=True)
class Home:
    """A folder that stands in for one that the working folder is, or lies in.

    Learner processes run in it, so that modules and plugin files are taken from there; and with
    the interpreter of its `.venv`, if it has one, so that installed plugins are, too.

    Attributes:
        root: the folder, absolute.
        present: what it stands in for, absolute.
    """

    root: Path
    present: Path

    @property
    def folder(self) -> Path:
        """What stands in for the working folder."""
        return self.root / Path.cwd().relative_to(self.present)

    @property
    def python(self) -> str:
        """The interpreter of its learner processes."""
        own = self.root / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def doors(self, doors: Doors) -> Doors:
        """The same doors, with the files below the present folder replaced by its own."""
        return replace(
            doors,
            plugins=tuple(self._own(path) for path in doors.plugins),
            plugins_dirs=tuple(self._own(path) for path in doors.plugins_dirs),
        )

    def code(self, doors: Doors, cell: Cell) -> Code:
        """The code that a cell has there.

        Args:
            doors: as `doors` gives them.
            cell: of the present code.

        Raises:
            UsageError: it has no such algorithm, or does not run.
        """
        name = cell.configured.algorithm.name
        asked = {
            "doors": asdict(doors),
            "name": name,
            "params": dict(cell.configured.params),
            "kind": cell.kind,
            "suite_code": cell.suite_code,
        }
        done = subprocess.run(
            [self.python, "-c", _ASK],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["no reason given"]
            raise UsageError(f"{self.root} has no {name} that could be run: {words[-1]}")
        digest, origin = json.loads(done.stdout.splitlines()[-1])
        return Code(digest, origin)

    def _own(self, path: str) -> str:
        """A path below the present folder, below this one; anything else as it is."""
        found = Path(path)
        if not found.is_absolute():
            return path
        found = Path(os.path.normpath(found))  # my/../plugin.py
        if not found.is_relative_to(self.present):
            return path
        return str(self.root / found.relative_to(self.present))
