"""A plugin package that must be read, not imported, and the code of a catalogue entry."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from metabench import Algorithm, Backbone
from metabench.plugins import code_digest
from metabench.plugins.code_digest import Code, cell_code
from metabench.plugins.registry import Provided, load_plugins
from metabench.plugins.sources import PluginSources

LEARNER = '''
"""A learner."""

import math
from collections.abc import Sequence
from . import tools
from .tools import helper
from .deep.inner import SCALE

RATE: float = 0.5
UNUSED = 1


class Learner:
    """Learns."""

    width: int = 3

    def adapt(self, support: Sequence[float]) -> float:
        """Adapt."""
        total: float = 0.0
        return total + RATE * helper(support) + math.sin(SCALE) + tools.other()


def unrelated():
    return 1
'''


FILES = {
    "plug_pkg/__init__.py": "raise RuntimeError('imported')",
    "plug_pkg/learner.py": LEARNER,
    "plug_pkg/tools.py": "def helper(x):\n    return len(x)\n\n\ndef other():\n    return 2\n",
    "plug_pkg/deep/inner.py": "SCALE = 3\n",  # a namespace package in a package
}


BUILD = "plug_pkg.learner:Learner"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def code_of(
    entry: Algorithm | str = BUILD,
    origin: Path | None = None,
    backbones: tuple[Backbone, ...] = (),
    params: dict[str, object] | None = None,
    module: str = "no_such_module",
) -> Code:
    """The code of a catalogue entry, read again."""
    algorithm = Algorithm("mine", build=entry) if isinstance(entry, str) else entry
    plugins = load_plugins(PluginSources(restrict=()))
    plugins.algorithms["mine"] = Provided(replace(algorithm, name="mine"), "test", origin, module)
    for backbone in backbones:
        plugins.backbones[backbone.name] = Provided(backbone, "test", origin, module)
    with pytest.MonkeyPatch.context() as patch:
        # What every cell uses of metabench is left out: it is read for seconds, by other tests.
        patch.setattr(code_digest, "ROOTS", ())
        return cell_code(plugins, "mine", {**algorithm.params, **(params or {})})


def digest_of(*args: object, **given: object) -> str:
    return code_of(*args, **given).digest  # type: ignore[arg-type]
