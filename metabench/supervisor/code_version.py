"""A folder with another version of the code, in which learner processes can be started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metabench.errors import UsageError
from metabench.plugins.sources import Doors

if TYPE_CHECKING:
    from metabench.cell.cell import Cell

# Runs on the older code, whose modules may have had other names.
_ASK = """
import json, sys
try:
    from metabench.plugins.code_digest import cell_code
    from metabench.plugins.registry import load_plugins
    from metabench.plugins.sources import Doors
except ImportError:  # metabench 0.1.0
    from metabench.doors import Doors
    from metabench.plugins import load_plugins
    from metabench.source import cell_code
asked = json.load(sys.stdin)
plugins = load_plugins(Doors(**asked["doors"]))
found = plugins.algorithm(asked["name"])
code = cell_code(plugins, *asked["cell"][:3 if cell_code.__module__ == "metabench.source" else 4])
print(json.dumps([getattr(code, "digest", code), str(found.origin or "")]))
"""


class OlderCode(NamedTuple):
    """Which code an algorithm runs on."""

    digest: str
    origin: str  # the plugin's file; "" where it cannot be told


@dataclass(frozen=True)
class CodeVersion:
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

    def code(self, doors: Doors, cell: Cell) -> OlderCode:
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
            "cell": [name, dict(cell.configured.params), cell.kind, cell.suite_code],
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
        return OlderCode(digest, origin)

    def _own(self, path: str) -> str:
        """A path below the present folder, below this one; anything else as it is."""
        found = Path(path)
        if not found.is_absolute():
            return path
        found = Path(os.path.normpath(found))  # my/../plugin.py
        if not found.is_relative_to(self.present):
            return path
        return str(self.root / found.relative_to(self.present))
