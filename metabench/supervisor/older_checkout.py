"""Another version of the code, in a folder in which learner processes can be started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metabench.errors import UsageError
from metabench.plugins.sources import PluginSources

if TYPE_CHECKING:
    from metabench.cell.cell import Cell

# Runs first in every process of the older code. An environment in which the current metabench is
# installed would find the current built-in algorithms, even in a checkout with its own.
OWN_PLUGINS = """
import importlib.util, pathlib, sys
if all(pathlib.Path(name, "__init__.py").is_file() for name in ("metabench", "plugins")):
    spec = importlib.util.spec_from_file_location(
        "metabench_plugins", pathlib.Path("plugins", "__init__.py").absolute()
    )
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
"""
# Runs in the older code, whose modules may have other names.
_ASK = """
import json, os, sys
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what plugins print is not part of the answer
try:
    from metabench.plugins.code_digest import cell_code
    from metabench.plugins.registry import load_plugins
    from metabench.plugins.sources import PluginSources
except ImportError:  # metabench 0.1.0
    from metabench.doors import Doors as PluginSources
    from metabench.plugins import load_plugins
    from metabench.source import cell_code
asked = json.load(sys.stdin)
plugins = load_plugins(PluginSources(**asked["sources"]))
found = plugins.algorithm(asked["name"])
code = cell_code(plugins, *asked["cell"][:3 if cell_code.__module__ == "metabench.source" else 4])
print(json.dumps([getattr(code, "digest", code), str(found.origin or "")]), file=answer, flush=True)
"""


class OlderCode(NamedTuple):
    """The code of an algorithm in another version."""

    digest: str
    origin: str  # the plugin's file; "" if unknown


@dataclass(frozen=True)
class OlderCheckout:
    """A folder that replaces the current one, which is or contains the working folder.

    Learner processes run in it, so modules and plugin files are taken from there. They use the
    interpreter of its `.venv`, if it has one, so installed plugins are taken from there too. In a
    checkout of metabench, the built-in algorithms are its own.

    Attributes:
        root: the folder, absolute.
        present: the folder that it replaces, absolute.
    """

    root: Path
    present: Path

    @property
    def folder(self) -> Path:
        """The folder that replaces the working folder."""
        return self.root / Path.cwd().relative_to(self.present)

    @property
    def python(self) -> str:
        """The interpreter of its learner processes."""
        own = self.root / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def sources(self, sources: PluginSources) -> PluginSources:
        """Return the same plugin sources, with files below the current folder replaced."""
        return replace(
            sources,
            plugins=tuple(self._own(path) for path in sources.plugins),
            plugins_dirs=tuple(self._own(path) for path in sources.plugins_dirs),
        )

    def code(self, sources: PluginSources, cell: Cell) -> OlderCode:
        """Return the code that a cell has there.

        Args:
            sources: as `sources` returns them.
            cell: of the current code.

        Raises:
            UsageError: there is no such algorithm, or it cannot be loaded.
        """
        name = cell.configured.algorithm.name
        asked = {
            "sources": asdict(sources),
            "name": name,
            "cell": [name, dict(cell.configured.params), cell.kind, cell.suite_code],
        }
        done = subprocess.run(
            [self.python, "-c", OWN_PLUGINS + _ASK],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["no reason given"]
            raise UsageError(
                f"{self.root} has no {name} that can be run: {words[-1]}; if that version is not "
                f"installed there, install it into {self.root / '.venv'}"
            )
        digest, origin = json.loads(done.stdout)
        return OlderCode(digest, origin)

    def _own(self, path: str) -> str:
        """Return a path below the current folder as one below this folder, others unchanged."""
        found = Path(path)
        if not found.is_absolute():
            return path
        found = Path(os.path.normpath(found))  # my/../plugin.py
        if not found.is_relative_to(self.present):
            return path
        return str(self.root / found.relative_to(self.present))
