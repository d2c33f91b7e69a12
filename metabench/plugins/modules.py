"""Python files read as definitions, imports, and statements that run on import.

Nothing is imported, and only top-level statements are read. `definitions.py` finds their meaning,
and `code_reader.py` finds which of them a learner uses.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

# Packages that are always read, in addition to the package or folder of the plugin itself.
OURS = ("metabench", "metabench_plugins")
# The start of the names that plugin files are imported under; see `plugin_files.py`.
FILE_PREFIX = "metabench.plugins.plugin_files."


class Import(NamedTuple):
    """The source of a name: `import module`, or `from module import attr`."""

    module: str
    attr: str = ""


@dataclass
class Bindings:
    """The statements of one module, by the names that they bind."""

    # the statements that define a name, in order
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)  # the sources of imported names
    # the sources of names imported below `if TYPE_CHECKING`
    for_annotations: dict[str, Import] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)  # modules that `from module import *` names
    # statements that change something else when the module is imported
    effects: list[ast.stmt] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)  # every module that this one imports


class Module(NamedTuple):
    """A module that was found."""

    name: str  # its dotted name; without the package for the single file of a plugin
    file: Path | None  # where it lies; None for a namespace package
    folder: Path | None  # where a single file looks for its helpers; None for modules of packages
    bindings: Bindings

    @property
    def key(self) -> str:
        """A unique identifier; helpers of two plugins may share a name."""
        return self.name if self.folder is None else f"{self.folder}:{self.name}"


class ModuleFinder:
    """A finder of modules: metabench's own, those of plugin packages, and helpers of plugin files.

    Args:
        packages: top-level packages to read; imports from others are external.
    """

    def __init__(self, packages: Sequence[str] = ()) -> None:
        self._packages = {*OURS, *packages}
        self._found: dict[tuple[str, Path | None], Module | None] = {}

    def file(self, file: Path) -> Module:
        """Return the module of a single file, which finds its helpers in its own folder."""
        return _read(file.stem, file, _helper_folder(file))

    def find(self, name: str, importer: Module | None = None) -> Module | None:
        """Return the module of a dotted name, as another module would import it.

        Returns:
            None for modules that are not read, because they belong to no plugin or do not exist.
        """
        folder = None if importer is None else importer.folder
        key = name, folder
        if key not in self._found:
            beside = None if folder is None else _beside(name, folder)
            self._found[key] = beside or self._in_package(name)
        return self._found[key]

    def _in_package(self, name: str) -> Module | None:
        top, *rest = name.split(".")
        if name.startswith(FILE_PREFIX):
            return _loaded_file(name)
        if top not in self._packages:
            return None
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        if spec.submodule_search_locations is None:
            file = Path(spec.origin or "")
            found = file.suffix == ".py" and not rest
            return _read(name, file, _helper_folder(file)) if found else None
        portions = [Path(portion) for portion in spec.submodule_search_locations]
        return _walk(name, _extended(top, portions), rest)


def _extended(top: str, portions: list[Path]) -> list[Path]:
    """Return the folders of a package, with those that `pkgutil.extend_path` adds to it."""
    init = portions[0] / "__init__.py" if portions else Path()
    if not init.is_file() or b"__path__" not in init.read_bytes():
        return portions
    others = (Path(entry) / top for entry in sys.path)
    return [*portions, *(other for other in others if other.is_dir() and other not in portions)]


def absolute(module: Module, name: str, level: int) -> str:
    """Return the dotted name after `from` in an import of a module, with its dots resolved."""
    if not level:
        return name
    is_package = module.file is None or module.file.name == "__init__.py"
    parts = module.name.split(".")
    around = parts[: len(parts) - level + is_package]
    return ".".join([*around, name]) if name else ".".join(around)


def _walk(name: str, portions: Sequence[Path], rest: Sequence[str]) -> Module | None:
    """Find a module in a package that consists of one or several folders."""
    for part in rest[:-1]:
        portions = [folder / part for folder in portions if (folder / part).is_dir()]
    if rest:
        for folder in portions:
            file = _module_file(folder / rest[-1])
            if file is not None:
                return _read(name, file, None)
        portions = [folder / rest[-1] for folder in portions]
    for folder in portions:
        if (folder / "__init__.py").is_file():
            return _read(name, folder / "__init__.py", None)
    return Module(name, None, None, Bindings()) if any(p.is_dir() for p in portions) else None


def _beside(name: str, folder: Path) -> Module | None:
    """Find a helper in the folder of a plugin's single file."""
    if name.partition(".")[0] in (*OURS, *sys.stdlib_module_names):
        return None
    path = folder.joinpath(*name.split("."))
    file = _module_file(path)
    if file is not None:
        return _read(name, file, folder)
    own = path.is_dir() and _is_imported_from(folder, name.partition(".")[0])
    return Module(name, None, folder, Bindings()) if own else None


def _is_imported_from(folder: Path, top: str) -> bool:
    """Return whether Python imports a name from a folder, which has at least a folder of it."""
    if _module_file(folder / top) is not None:
        return True
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    # A module or package with a file, anywhere, comes before folders without `__init__.py`.
    return spec is None or spec.origin is None


def _loaded_file(name: str) -> Module | None:
    """Return the module of a plugin file that was imported under a name made from its path."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return None if file is None else _read(Path(file).stem, Path(file), _helper_folder(Path(file)))


def _helper_folder(file: Path) -> Path | None:
    """Return the folder of a file's helpers; files next to an installed one are not its own."""
    return None if file.parent.name in ("site-packages", "dist-packages") else file.parent


def _module_file(path: Path) -> Path | None:
    """Return the file of the module or package at a path without suffix."""
    found = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((file for file in found if file.is_file()), None)


def _read(name: str, file: Path, folder: Path | None) -> Module:
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    empty = Module(name, file, folder, Bindings())
    return empty._replace(bindings=_bindings(name, file.name == "__init__.py", content))


@functools.lru_cache(maxsize=1024)
def _bindings(name: str, is_package: bool, content: bytes) -> Bindings:
    found = Bindings()
    try:
        with warnings.catch_warnings(action="ignore"):  # importing the file shows them
            tree = ast.parse(content)
    except (SyntaxError, ValueError):  # not Python: its bytes count
        found.effects.append(ast.Expr(ast.Constant(content)))
        return found
    init = Path("__init__.py" if is_package else "module.py")
    _collect(tree.body, Module(name, init, None, found))
    return found


def _collect(body: Sequence[ast.stmt], module: Module) -> None:
    found = module.bindings
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom():
                _collect_import(statement, module, found.imports)
                found.loaded += loads(statement, module)
            case ast.If() if _is_type_checking(statement.test):
                for node in statement.body:
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        _collect_import(node, module, found.for_annotations)
                _collect(statement.orelse, module)
            case ast.If() if _is_main(statement.test):
                _collect(statement.orelse, module)
            case _:
                for name in _bound(statement):
                    found.definitions.setdefault(name, []).append(statement)
                for inner in inner_nodes(statement):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        found.loaded += loads(inner, module)
                        found.stars += [s.module for n, s in imported(inner, module) if n == "*"]
                if _has_effect(statement):
                    found.effects.append(statement)


def _collect_import(
    node: ast.Import | ast.ImportFrom, module: Module, into: dict[str, Import]
) -> None:
    for name, source in imported(node, module):
        if name == "*":
            module.bindings.stars.append(source.module)
        else:
            into[name] = source


def imported(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[tuple[str, Import]]:
    """Yield the names that an import statement binds, each with its source."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, Import(whole)
    else:
        source = absolute(module, node.module or "", node.level)
        for alias in node.names:
            yield alias.asname or alias.name, Import(source, alias.name)


def loads(node: ast.Import | ast.ImportFrom, module: Module) -> list[str]:
    """List the modules that an import statement loads, if they exist."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    source = absolute(module, node.module or "", node.level)
    return [source, *(f"{source}.{alias.name}" for alias in node.names)]


def _bound(statement: ast.stmt) -> Mapping[str, None]:
    """Return the names that a top-level statement defines, in order, also in its blocks."""
    found: dict[str, None] = {}
    for node in inner_nodes(statement):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found[node.name] = None
            case ast.Name(ctx=ast.Store()):
                found[node.id] = None
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = None
            case ast.ExceptHandler(name=str(name)):
                found[name] = None
    return found


def _has_effect(statement: ast.stmt) -> bool:
    """Return whether a top-level statement may change more than the names that it defines."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return False  # decorators and bases are read in `code_reader.py`
        case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Import() | ast.ImportFrom():
            return False
        case ast.Assign():
            return not all(_is_name(target) for target in statement.targets)
        case ast.AnnAssign():
            return not _is_name(statement.target)
        case ast.AugAssign(ast.Name(name)):
            return name != "__all__"  # it may change a list that another module made
        case ast.If():
            return any(map(_has_effect, [*statement.body, *statement.orelse]))
        case ast.Try():
            handled = [node for handler in statement.handlers for node in handler.body]
            return any(
                map(
                    _has_effect,
                    [*statement.body, *handled, *statement.orelse, *statement.finalbody],
                )
            )
    return True


def inner_nodes(statement: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and the nodes of its blocks and targets, except functions and classes."""
    yield statement
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    if isinstance(statement, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    for child in ast.iter_child_nodes(statement):
        yield from inner_nodes(child)


def _is_name(target: ast.expr) -> bool:
    match target:
        case ast.Name():
            return True
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            return all(map(_is_name, elts))
        case ast.Starred(value=value):
            return _is_name(value)
    return False


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def _is_main(test: ast.expr) -> bool:
    match test:
        case ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]):
            return True
    return False
