"""Where the tests of plugins look for these; importing it imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PluginPaths = str | Path | Sequence[str | Path]


def find(plugins: PluginPaths, folder: Path) -> tuple[str, ...]:
    """Plugins as `Doors` takes them.

    Args:
        plugins: modules or files; one of them may stand alone.
        folder: where the test is; files are looked for here, then in the working folder.
    """
    several = [plugins] if isinstance(plugins, str | Path) else plugins
    beside = [(plugin, folder / plugin) for plugin in several]
    return tuple(str(file if file.is_file() else plugin) for plugin, file in beside)
