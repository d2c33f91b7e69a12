"""The paths of plugins that tests name; importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PluginPaths = str | Path | Sequence[str | Path]


def find(plugins: PluginPaths, folder: Path) -> tuple[str, ...]:
    """Find the plugins that a test names.

    Args:
        plugins: modules or files; a single one needs no list.
        folder: the test's folder; files are looked up here, then in the working folder.
    """
    several = [plugins] if isinstance(plugins, str | Path) else plugins
    beside = [(plugin, folder / plugin) for plugin in several]
    return tuple(str(file if file.is_file() else plugin) for plugin, file in beside)
