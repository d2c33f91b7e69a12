"""Import of plugin files, which may import helpers from their own folders."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType

from metabench.files import read_file
from metabench.plugins.modules import FILE_PREFIX, OURS, Module, ModuleFinder, loads
from metabench.plugins.plugin_files import module_name

_SOURCE = "__metabench_source__"  # of a module: the file's content when it was imported
_PYTHON = Path(os.__file__).parent
# These come first: a plugin's file `copy.py` must not replace Python's own module.
_STANDARD_LIBRARY = (str(_PYTHON), str(_PYTHON / "lib-dynload"))


def import_file(file: Path) -> ModuleType:
    """Import a file under a name made from its path, the same in every process.

    The module stays in `sys.modules`, so that pickling and `inspect` find it. It is imported once
    unless the file changes: another copy would replace the classes that a run in another thread
    uses. Its folder stays in `sys.path`, so that it can import helpers from there, also later and
    in processes that it starts.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ImportError: a helper has the same name as another module. Any exception that the file
            raises when it is imported is raised too.
    """
    file = file.resolve()
    name = module_name(file)
    source = read_file(file)  # a pipe is refused, not waited for
    if name in sys.modules and vars(sys.modules[name]).get(_SOURCE) == source:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, _SOURCE, source)
    sys.modules[name] = module
    try:
        _order_path()
        _check_helpers(file)
        # Not by the loader: Python's cache of compiled files is keyed by size and whole seconds, so
        # a file that is edited at once would run as it was.
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def import_package(folder: Path) -> ModuleType:
    """Import the package in a folder under its own name, also a package within another.

    The folder around it goes to the end of `sys.path`, so that processes that the plugin starts
    find it, and nothing else in that folder replaces a module.

    Raises:
        ImportError: another module has its name. Any exception that it raises is raised too.
    """
    names, root = [folder.name], folder.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.append(str(root))
    spec = importlib.util.find_spec(names[0])
    if spec is None or Path(spec.origin or "").parent.resolve() != (root / names[0]).resolve():
        other = "no module" if spec is None else spec.origin or "another folder"
        raise ImportError(f"Python finds {other} by its name '{names[0]}': rename the folder")
    return importlib.import_module(".".join(names))


def _order_path() -> None:
    """Put the folders of plugin files into `sys.path`, before installed packages.

    The folders of earlier plugins come first, so that these keep their helpers. A folder with a
    copy of metabench comes last, because processes that a plugin starts import metabench too.
    """
    loaded = list(sys.modules.items())  # other threads may be importing
    files = [m.__file__ or "" for name, m in loaded if name.startswith(FILE_PREFIX)]
    folders = dict.fromkeys(str(Path(file).parent) for file in files)
    last = [folder for folder in folders if any(Path(folder, name).is_dir() for name in OURS)]
    first = [*_STANDARD_LIBRARY, *(folder for folder in folders if folder not in last)]
    others = [entry for entry in sys.path if entry not in first and entry not in last]
    sys.path[:] = [*first, *others, *last]


def _check_helpers(file: Path) -> None:
    """Refuse a plugin file if Python would import another module in place of one of its helpers.

    Raises:
        ImportError: such a module is already loaded, or comes earlier in `sys.path`.
    """
    for top in sorted({helper.name.partition(".")[0] for helper in _helpers(file)}):
        spec = importlib.util.find_spec(top)
        assert spec is not None
        place = Path((spec.submodule_search_locations or [spec.origin or ""])[0])
        if place.parent.resolve() != file.parent:
            raise ImportError(f"its helper '{top}' has the same name as {place}: rename the helper")


def _helpers(file: Path) -> list[Module]:
    """Return the modules in a file's folder that it imports, directly or through each other."""
    finder = ModuleFinder()
    plugin = finder.file(file)
    found = {plugin.key: plugin}
    look = [plugin]
    while look:
        module = look.pop()
        for name in _imports(module):
            helper = finder.find(name, module)
            if helper is not None and helper.folder is not None and helper.key not in found:
                found[helper.key] = helper
                look.append(helper)
    return list(found.values())[1:]


def _imports(module: Module) -> Iterator[str]:
    """Yield the names of the modules that a module imports, also inside its functions."""
    yield from module.bindings.loaded
    for statement in chain(*module.bindings.definitions.values(), module.bindings.effects):
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from loads(node, module)
