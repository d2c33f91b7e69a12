"""Modules of plugin files, which processes that a plugin starts can import too.

A process that is spawned, as by a DataLoader or joblib, imports what it gets by the name of its
module. Importing `metabench.plugins.plugin_files.NAME` imports this module first, and the finder
below then looks for the file in `sys.path`, which such a process shares with its parent.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from metabench.plugins.modules import FILE_PREFIX

__path__: Sequence[str] = ()  # so that this module may contain others, as a package does


def module_name(file: Path) -> str:
    """Return the name that a plugin file is imported under, the same in every process."""
    digest = hashlib.sha256(str(file).encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{FILE_PREFIX}{re.sub(r'[^a-zA-Z0-9_]', '_', file.stem)}_{digest}"


class _PluginFileFinder:
    """A finder of plugin files by the names of their modules."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec; None if no folder of `sys.path` has its file."""
        if not name.startswith(FILE_PREFIX):
            return None
        files = (file for folder in sys.path if folder for file in Path(folder).glob("*.py"))
        resolved = (file.resolve() for file in files)
        found = next((file for file in resolved if module_name(file) == name), None)
        return None if found is None else importlib.util.spec_from_file_location(name, found)


sys.meta_path.append(_PluginFileFinder)
