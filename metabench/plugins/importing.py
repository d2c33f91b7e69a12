"""Importing plugins: what lies beside a file is its own, and the process stays as it was."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from metabench.plugins.modules import FILE_PREFIX

_OURS = __name__.partition(".")[0]


def import_file(file: Path) -> ModuleType:
    """Import a file under a name made from its path, the same in every process.

    It stays in `sys.modules`, so that pickling and `inspect` find it, and it can import helpers
    that lie beside it, then and later. Its folder is also in `sys.path`, at the end, for processes
    that it starts.

    Raises:
        ImportError: it imports a helper whose name another module has already; or whatever it
            raises.
    """
    file = file.resolve()
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    name = f"{FILE_PREFIX}{re.sub(r'[^a-zA-Z0-9_]', '_', file.stem)}_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _beside.add(str(file.parent))
    sys.modules[name] = module
    try:
        with _helpers_of(file.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Beside(MetaPathFinder):
    """Finds what lies beside plugins before what is installed, or lies in the working folder.

    Never in place of what comes with Python: nobody who calls a file `copy.py` means that.
    """

    def __init__(self) -> None:
        self._folders: list[str] = []

    def add(self, folder: str) -> None:
        """Look there first from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        if folder not in sys.path:
            sys.path.append(folder)
        self._folders = [folder, *(other for other in self._folders if other != folder)]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname in (_OURS, *sys.stdlib_module_names):
            return None
        found = PathFinder.find_spec(fullname, self._folders)
        # A folder without `__init__.py` is a package only where nothing else has its name.
        return None if found is None or found.origin is None else found


_beside = _Beside()


@contextmanager
def _helpers_of(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported where others of their names have been.

    Raises:
        ImportError: one was. Only one module can have a name, and imports that come later would
            get the wrong one.
    """
    beside = {file.stem for file in folder.glob("*.py")}
    beside |= {package.parent.name for package in folder.glob("*/__init__.py")}
    others = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in beside and _is_of_another_folder(module, folder)
    }
    for name in others:
        del sys.modules[name]
    try:
        yield
    finally:
        taken = [name for name in others if name in sys.modules]
        sys.modules.update(others)
    if taken:
        other = others[taken[0]].__file__
        raise ImportError(
            f"it imports '{taken[0]}' from beside it, and another '{taken[0]}' is loaded already, "
            f"{other}: rename one of them"
        )


def _is_of_another_folder(module: ModuleType, folder: Path) -> bool:
    """Whether it is a file from elsewhere; metabench and what comes with Python have one only."""
    file, top = getattr(module, "__file__", None), module.__name__.partition(".")[0]
    if not file or top in (_OURS, *sys.stdlib_module_names):
        return False
    return not Path(file).resolve().is_relative_to(folder)


# Of torch, what changes the numbers of every other learner: how it is read, and put back.
_TORCH = {
    "torch's default dtype": ("get_default_dtype", "set_default_dtype"),
    "torch's gradient mode": ("is_grad_enabled", "set_grad_enabled"),
    "torch's default device": ("get_default_device", "set_default_device"),
}


@contextmanager
def unchanged() -> Iterator[list[str]]:
    """Put back what importing a plugin changes for everybody else.

    Yields:
        A list that holds what it was, in words, when the block is over.
    """
    found: list[str] = []
    folder, before = Path.cwd(), _torch_settings()
    try:
        yield found
    finally:
        if Path.cwd() != folder:
            os.chdir(folder)
            found.append("the working folder")
        for name, value in _torch_settings().items():
            # Torch may have been imported by the plugin: then it was as it comes.
            expected = before[name] if before else _as_it_comes(name)
            if value != expected:
                getattr(sys.modules["torch"], _TORCH[name][1])(expected)
                found.append(name)


def _torch_settings() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {} if torch is None else {k: getattr(torch, read)() for k, (read, _) in _TORCH.items()}


def _as_it_comes(name: str) -> Any:
    torch = sys.modules["torch"]
    return {
        "torch's default dtype": torch.float32,
        "torch's gradient mode": True,
        "torch's default device": torch.device("cpu"),
    }[name]
