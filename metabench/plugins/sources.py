"""The sources of plugins, and the candidates found there.

The order is: entry points of the group "metabench", the files of each plugin folder, modules,
files. A plugin is named after its entry point, its module, its file (`my_algo.py`), or the
folder of its package (`my_algo`).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from metabench.errors import UsageError, reason
from metabench.files import expanded, read_file
from metabench.plugins.hookspecs import PROJECT
from metabench.plugins.importing import import_file, import_package
from metabench.plugins.modules import OURS
from metabench.text import shell_line

RESTRICT = "METABENCH_PLUGINS"
_BLOCK = "no:"
_INIT = "__init__.py"


@dataclass(frozen=True)
class PluginSources:
    """The sources of plugins; processes with equal sources load the same plugins.

    `dataclasses.asdict(sources)` can be stored as JSON; `PluginSources(**fields)` reads it back.
    """

    # folders whose `*.py` and packages are plugins, or folders of packages; made absolute
    plugins_dirs: tuple[str, ...] = ()
    # the values of `-p`: "module", "path/to/file.py", "path/to/package/" or "no:name"; paths are
    # made absolute
    plugins: tuple[str, ...] = ()
    restrict: tuple[str, ...] | None = None  # the only entry points to load; None: all of them

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "plugins_dirs", tuple(_absolute(d) for d in self.plugins_dirs))
        set_field(self, "plugins", tuple(_absolute(p) if _is_file(p) else p for p in self.plugins))
        if self.restrict is not None:
            set_field(self, "restrict", tuple(self.restrict))

    @classmethod
    def from_env(
        cls,
        plugins_dirs: Iterable[str] = (),
        plugins: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> PluginSources:
        """Return the sources that options and `METABENCH_PLUGINS` name.

        Args:
            plugins_dirs: the values of `--plugins-dir`.
            plugins: the values of `-p`.
            environ: the environment. `METABENCH_PLUGINS=a,b` loads only these entry points, and
                an empty value loads none.
        """
        names = environ.get(RESTRICT)
        restrict = None if names is None else tuple(filter(None, re.split(r"[,\s\ufeff]+", names)))
        return cls(tuple(plugins_dirs), tuple(plugins), restrict)

    @property
    def options(self) -> tuple[str, ...]:
        """The options that name these sources, such as "-p my.py", with relative paths."""
        folders = (("--plugins-dir", os.path.relpath(d)) for d in self.plugins_dirs)
        named = (("-p", _shown(p) if _is_file(p) else p) for p in self.plugins)
        return tuple(map(shell_line, (*folders, *named)))

    @property
    def blocked(self) -> tuple[str, ...]:
        """The names of plugins that are left out by "no:NAME"."""
        return tuple(p.removeprefix(_BLOCK) for p in self.plugins if p.startswith(_BLOCK))

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules among `plugins`."""
        return tuple(p for p in self.plugins if not _is_file(p) and not p.startswith(_BLOCK))

    @property
    def files(self) -> tuple[str, ...]:
        """The files among `plugins`."""
        return tuple(p for p in self.plugins if _is_file(p))


@dataclass(frozen=True)
class Candidate:
    """A plugin that was found and is not imported yet."""

    name: str  # its name, also for "no:NAME"
    load: Callable[[], Any]  # imports it and returns the object that has its hooks
    module: str = ""  # its module; "" for files
    origin: str = ""  # its file if that is known without importing it; otherwise ""
    version: str = ""  # the version of its distribution; "" without one
    entry_point: bool = False  # it is installed, so `METABENCH_PLUGINS` can leave it out


def candidates(sources: PluginSources) -> Iterator[Candidate]:
    """Yield the plugins of each source, in order.

    Raises:
        UsageError: a folder, module or file that was named does not exist.
    """
    yield from _entry_points()
    for folder in sources.plugins_dirs:
        if not stat.S_ISDIR(_mode("--plugins-dir", folder, "folder")):
            raise UsageError(f"--plugins-dir {folder}: this is not a folder")
        yield from _in_folder(Path(folder))
    yield from map(_module, sources.modules)
    for name in sources.files:
        mode, file = _mode("-p", name, "file"), Path(name)
        if stat.S_ISDIR(mode):
            file /= _INIT
            if not file.is_file():
                advice = f"use {shell_line(['--plugins-dir', name])}"
                raise UsageError(f"-p {name}: this folder has no {_INIT}; {advice}")
        elif not stat.S_ISREG(mode):
            raise UsageError(f"-p {name}: this is not a regular file")
        yield _file(file)


def _mode(option: str, path: str, kind: str) -> int:
    """Return the kind and permissions of a file or folder that an option names.

    Raises:
        UsageError: it does not exist, or the system refuses to look.
    """
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{option} {path}: no such {kind}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        raise UsageError(f"{option} {path}: {reason(error)}") from None


def origin_of(module: str) -> str:
    """Return the file of a module, "" if that is unknown; import its parent packages."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # from a parent package; loading the module raises it again
        return ""
    if spec is None or not spec.has_location or spec.origin is None:
        return ""
    return str(Path(spec.origin).resolve())


def _entry_points() -> Iterator[Candidate]:
    found: dict[str | int, importlib.metadata.EntryPoints] = {}
    for package in importlib.metadata.distributions():
        try:
            points = package.entry_points.select(group=PROJECT)
        except Exception as error:
            yield _unreadable(package, error)
            continue
        if points:  # the first package of a name counts
            found.setdefault(_known(package, "name") or id(package), points)
    for point in sorted(chain.from_iterable(found.values()), key=lambda p: (p.name, p.value)):
        module, version = _known(point, "module"), _known(point.dist, "version")
        yield Candidate(point.name, partial(_load, point), module, "", version, entry_point=True)


def _known(thing: object, name: str) -> str:
    """Return an attribute that is read from a file or parsed; "" if that fails."""
    try:
        return getattr(thing, name) or ""
    except Exception:
        return ""


def _unreadable(package: importlib.metadata.Distribution, error: Exception) -> Candidate:
    """Return a plugin that fails when it is loaded, in place of a package's entry points."""
    folder = getattr(package, "_path", None)  # its name may be in a file that cannot be read
    name = getattr(folder, "name", "unknown")

    def fail() -> None:
        raise ImportError(f"the entry points of package {name} cannot be read: {error}")

    return Candidate(name, fail, entry_point=True)


def _load(point: importlib.metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except AttributeError as error:
        if point.pattern.match(point.value):
            raise
        package = point.dist.name if point.dist else "unknown"
        raise ImportError(
            f"the entry point '{point.name} = {point.value}' of package {package} is malformed"
        ) from error


def _module(name: str) -> Candidate:
    def load() -> ModuleType:
        return importlib.import_module(name)

    top = name.partition(".")[0]
    if not top or importlib.util.find_spec(top) is None:
        advice = ""
        # pathlib raises for long names
        if os.path.isdir(name):  # noqa: PTH112
            advice = f"; for the folder, use {shell_line(['-p', name + '/'])}"
        elif os.path.isfile(f"{name}.py"):  # noqa: PTH113
            advice = f"; for the file, use {shell_line(['-p', name + '.py'])}"
        raise UsageError(f"-p {name}: no such module{advice}")
    return Candidate(name, load, module=name, origin=origin_of(name))


def _in_folder(folder: Path) -> Iterator[Candidate]:
    """Yield the plugin that a folder is, otherwise the files and packages in it that are plugins.

    A folder of plugins may contain other packages, which must not be imported: those of plugins
    mention metabench.
    """
    if _is_package(folder):
        yield _file(folder / _INIT)
        return
    yield from map(_file, filter(is_plugin, sorted(folder.glob("*.py"))))
    packages = (file.parent for file in sorted(folder.glob(f"*/{_INIT}")))
    yield from (_file(p / _INIT) for p in packages if is_plugin(p) and _is_package(p))


def _is_package(folder: Path) -> bool:
    try:
        return folder.name not in OURS and b"metabench" in read_file(folder / _INIT)
    except OSError:
        return False


def _file(file: Path) -> Candidate:
    origin = os.path.realpath(file)
    if file.name == _INIT:
        return Candidate(file.parent.name, partial(import_package, file.parent), origin=origin)
    return Candidate(file.name, partial(import_file, file), origin=origin)


def _is_file(text: str) -> bool:
    return not text.startswith(_BLOCK) and (text.endswith(".py") or "/" in text or os.sep in text)


def _shown(path: str) -> str:
    """Return a relative path in a form that is not taken for the name of a module."""
    shown = os.path.relpath(path)
    return shown if _is_file(shown) else f"{shown}/"


def is_plugin(file: Path) -> bool:
    """Return whether a file or package is a plugin, not a test or a private helper."""
    return not file.name.startswith(("_", "test_")) and file.name != "conftest.py"


def _absolute(path: str) -> str:
    return str(expanded(path).absolute())
