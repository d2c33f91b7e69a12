"""The digest of the code that a cell uses; if the code changes, the cell's result is stale.

The digest covers the definitions that can be reached from an algorithm's catalogue entry, from
the dataset and protocol of its suite, and from metabench's own code that runs in a learner
process or uses its answers. See "Code identity" in docs/architecture.md.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import operator
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench import address
from metabench.address import Value
from metabench.errors import UsageError, reason
from metabench.files import expanded, sha256, sha256_folder
from metabench.garbage import no_gc
from metabench.learner import Algorithm, Backbone, Kind
from metabench.plugins.code_reader import CodeReader, digests
from metabench.plugins.definitions import ALL, OWN, Definition, Reference
from metabench.plugins.hookspecs import PROJECT
from metabench.plugins.modules import OURS, Module

if TYPE_CHECKING:
    from metabench.plugins.registry import Plugins, Provided

# The entry points of a cell: the learner process, the commands that the supervisor sends to it,
# and the scoring of its answers. Everything that these use counts.
ROOTS = (
    "metabench.worker.main:main",
    "metabench.cell.commands:start",
    "metabench.cell.commands:measure",
    "metabench.cell.scoring:score",
    "metabench.cell.probe:probe",
    "metabench.cell.budget:Budget",
    "metabench.suites.open_suite:OpenSuite",
    "metabench.learner:Backbone",  # reached through a mapping, which cannot be followed
)
# Layers that they use, for loading plugins and writing files, but that decide no number.
OUTSIDE = ("metabench.plugins", "metabench.results")

_SHORT = 12  # characters of a digest: enough to distinguish versions of a definition


@dataclass(frozen=True)
class Code:
    """The code of a cell."""

    digest: str  # SHA-256 of all of it, in hex
    # the start of the SHA-256 of each definition's own text, by "module:name"; likewise
    # "catalogue:name" and "file:name" for what the catalogue declares
    definitions: Mapping[str, str]
    # the SHA-256, in hex, of each file that the catalogue, a parameter or a constant names, and of
    # each folder that one of the first two names
    files: Mapping[str, str]
    packages: frozenset[str]  # names of other packages that the code uses


@no_gc()  # tracing the syntax trees over and over took two fifths of the time
def cell_code(
    plugins: Plugins,
    name: str,
    params: Mapping[str, Value],
    kind: Kind = "classification",
    suite_code: Sequence[str] = (),
) -> Code:
    """Find the code of an algorithm with given parameters.

    Args:
        plugins: the catalogue.
        name: the name of the algorithm.
        params: all of its parameters.
        kind: the kind of the suite.
        suite_code: "module:attr" of the code that makes the suite, as in `Suite.code`.

    Raises:
        UsageError: the algorithm, its backbone, or a file that one of them declares does not
            exist.
    """
    provided = plugins.algorithm(name)
    asked = params.get("backbone")
    if isinstance(asked, str) and asked:
        plugins.backbone(_named_by(asked))
    parts = _Parts(plugins.code_readers, plugins.backbones.keys())
    algorithm = provided.spec.on(kind)
    parts.add_built(algorithm.build, provided)
    parts.add_files(algorithm, provided.origin, params)
    parts.declare(
        name,
        {
            "params": dict(algorithm.params),
            "budgets": dict(algorithm.budgets),
            "training": asdict(algorithm.training),
        },
        provided.origin,
    )
    given = {value for value in params.values() if isinstance(value, str)} | parts.given
    # A learner may also name a backbone in its own code.
    in_code, by_metabench = parts.strings(params)
    parts.add_files_in_code(algorithm, provided.origin, in_code)
    texts = sorted(given | in_code | by_metabench)
    for backbone, found in plugins.backbones.items():
        addresses = [text for text in texts if _named_by(text) == backbone]
        addresses += [text for text in sorted(given) if backbone in _inner_names(text)]
        if addresses:
            parts.add_built(found.spec.build, found)
            parts.declare(backbone, dict(found.spec.params), found.origin)
        for text in addresses:
            parts.add_files(found.spec, found.origin, {**found.spec.params, **_chosen(text)})
    for target in dict.fromkeys((*ROOTS, *suite_code)):  # two suites may share a protocol
        parts.add_target(target, None)
    return parts.code()


class _Parts:
    """The parts of a cell's code."""

    def __init__(
        self, readers: dict[frozenset[str], CodeReader], backbones: Collection[str]
    ) -> None:
        self._readers = readers
        self._backbones = backbones
        self.given: set[str] = set()  # texts among the arguments of functions
        self._targets: list[tuple[str, Path | None]] = []
        self._imported: list[tuple[str, Path | None]] = []
        self._declared: list[tuple[str, str]] = []
        self._files: dict[str, str] = {}
        self._file_parts: list[str] = []  # by place, not by name: a file may be renamed

    def declare(self, name: str, value: object, origin: Path | None) -> None:
        """Count the values of a catalogue entry, or the arguments of its functions."""
        try:
            text = json.dumps(value, sort_keys=True, default=_shown)
        except (TypeError, ValueError):  # keys that are no texts, or a list that contains itself
            text = _shown(value)
        if origin is not None:
            text = text.replace(str(origin.parent), ".")  # the plugin may be moved
        self._declared.append((f"catalogue:{name}", hashlib.sha256(text.encode()).hexdigest()))

    def add_files(
        self, entry: Algorithm | Backbone, origin: Path | None, params: Mapping[str, Value]
    ) -> None:
        """Count the files and folders that a catalogue entry declares or a parameter names."""
        for k, name in enumerate(entry.files):
            given = str(params.get(name, name))
            if given:
                self._add_file(entry, name, str(k), _declared_path(entry, name, given, origin))
        for name, value in params.items():
            if name in entry.files or not isinstance(value, str):
                continue
            if _named_by(value) in self._backbones:  # even where such a file lies
                continue
            path = _named_path(value, origin)
            if path is not None:
                self._add_file(entry, name, name, path)

    def add_files_in_code(
        self, entry: Algorithm, origin: Path | None, texts: Iterable[str]
    ) -> None:
        """Count the files that string constants name, such as "weights.pt"."""
        for text in sorted({*texts} - {*entry.files}):
            path = _named_path(text, origin) if Path(text).suffix else None
            if path is not None and path.suffix != ".py" and path.is_file():  # code counts as code
                self._add_file(entry, text, "", path)

    def _add_file(self, entry: Algorithm | Backbone, name: str, key: str, path: Path) -> None:
        """Count a file, or all files of a folder.

        Args:
            entry: the catalogue entry that reads it.
            name: its name in a result.
            key: what identifies it in the digest, in place of its name.
            path: the file or folder.

        Raises:
            UsageError: it cannot be read, or is neither a regular file nor a folder.
        """
        try:
            digest = sha256_folder(path) if path.is_dir() else sha256(path)
        except OSError as error:
            raise UsageError(
                f"cannot read {path}, which {entry.name} reads: {reason(error)}"
            ) from None
        of_backbone = isinstance(entry, Backbone)
        self._files[f"{entry.name}:{name}" if of_backbone else name] = digest
        self._file_parts.append(f"{entry.name} {key} {digest}")

    def add_built(self, build: str | Callable[..., Any], provided: Provided[Any]) -> None:
        """Count a function or class, or the target of "module:attr".

        What a closure, an object or a bound method holds is found nowhere in the syntax. It was
        made by the module that provides the entry, so all of that module counts.
        """
        self._imported.append((provided.module, provided.origin))
        while isinstance(build, functools.partial):
            self.declare("partial", [build.args, build.keywords], provided.origin)
            for value in (*build.args, *build.keywords.values()):
                if isinstance(value, str):
                    self.given.add(value)
                if callable(value):
                    self.add_built(value, provided)
                elif not _is_shown(value):
                    self.add_target(f"{provided.module}:{ALL}", provided.origin)
            build = build.func
        if isinstance(build, str):
            self.add_target(build, provided.origin)
            return
        module, name = target_of(build)
        self.add_target(f"{module}:{name}", provided.origin)
        if not _is_found_by_name(build):
            self.add_target(f"{provided.module}:{ALL}", provided.origin)
        if module == "__main__" or not hasattr(sys.modules.get(module), "__file__"):
            self.declare(name, _text(build), None)

    def add_target(self, target: str, origin: Path | None) -> None:
        """Count the target of "module:attr", or the whole plugin file if it is not found."""
        self._targets.append((target, origin))

    def strings(self, params: Mapping[str, Value]) -> tuple[set[str], set[str]]:
        """Return the string constants in the plugin's code, and those in metabench's.

        Args:
            params: arguments that are given, so that their defaults are not used.
        """
        of_plugin: set[str] = set()
        of_metabench: set[str] = set()
        reader = self._reader
        for reference, definition in self._reached(reader).items():
            top = re.split("[.:]", reader.name(reference), maxsplit=1)[0]
            found = of_metabench if top == PROJECT else of_plugin
            found.update(definition.strings)
            found.update(text for name, text in definition.defaults if name not in params)
        return of_plugin, of_metabench

    def code(self) -> Code:
        """Return the code of all parts added so far."""
        reader = self._reader
        roots = self._roots(reader)
        reached = self._reached(reader)
        each = digests(reached)
        whole = [digest for _, digest in self._declared]
        whole += [*sorted(self._file_parts), "", *(each[root] for root in roots)]
        whole += ["", *sorted(each.values())]
        packages = {name for found in reached.values() for name in found.packages}
        return Code(
            digest=hashlib.sha256("\n".join(whole).encode()).hexdigest(),
            definitions={
                **{name: digest[:_SHORT] for name, digest in self._declared},
                **{f"file:{name}": digest[:_SHORT] for name, digest in self._files.items()},
                **{
                    reader.name(reference): definition.digest[:_SHORT]
                    for reference, definition in reached.items()
                    if reference.name not in (OWN, ALL)
                },
            },
            files=self._files,
            packages=frozenset(packages - {*OURS, *sys.stdlib_module_names}),
        )

    @property
    def _reader(self) -> CodeReader:
        places = (*self._targets, *self._imported)
        tops = {target.partition(".")[0].partition(":")[0] for target, _ in places}
        tops |= {_package_around(origin) for _, origin in places if origin is not None}
        packages = tops - {*OURS, ""}  # always read: learners of metabench share a reader
        return self._readers.setdefault(frozenset(packages), CodeReader(sorted(packages), OUTSIDE))

    def _reached(self, reader: CodeReader) -> dict[Reference, Definition]:
        """Return every definition of all parts, and what importing the providers' modules runs."""
        found = (_module(reader, name, origin) for name, origin in self._imported)
        return reader.reach(self._roots(reader), filter(None, found))

    def _roots(self, reader: CodeReader) -> list[Reference]:
        return [root for target, origin in self._targets for root in _root(reader, target, origin)]


def target_of(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the module and the top-level definition that contain a function or class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return named.__module__, named.__qualname__.partition(".")[0]


def _is_found_by_name(function: Callable[..., Any]) -> bool:
    """Return whether a function or class is what its module has by its name."""
    try:
        by_name = operator.attrgetter(function.__qualname__)
        return bool(by_name(sys.modules[function.__module__]) == function)
    except (AttributeError, KeyError):
        return False


def _root(reader: CodeReader, target: str, origin: Path | None) -> list[Reference]:
    module_name, _, name = target.partition(":")
    module = _module(reader, module_name, origin)
    if module is None:
        return []
    found = None if name == ALL else reader.look_up(module, name.partition(".")[0])
    return [Reference(module.key, ALL) if found is None else found]


def _module(reader: CodeReader, name: str, origin: Path | None) -> Module | None:
    found = reader.module(name)
    return reader.file(origin) if found is None and origin is not None else found


def _package_around(file: Path) -> str:
    """Return the package that a plugin's file lies in, "" if it lies in none."""
    top = ""
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        top = folder.name
    return top


def _declared_path(entry: Algorithm | Backbone, name: str, given: str, origin: Path | None) -> Path:
    """Return the path of a declared file; a fixed name is relative to the plugin's file."""
    path = expanded(given)
    if not path.is_absolute() and origin is not None and name not in entry.params:
        path = origin.parent / path
    return path


def _named_path(text: str, origin: Path | None) -> Path | None:
    """Return the file or folder that a text names, here or next to the plugin's file, if any.

    A folder that contains the working folder or the plugin, such as ".", names no data.
    """
    for folder in (Path(), *([] if origin is None else [origin.parent])):
        try:
            path: Path = folder / expanded(text)
            if path.is_file():
                return path
            inside = (Path.cwd(), origin or Path.cwd())
            if path.is_dir() and not any(
                p.resolve().is_relative_to(path.resolve()) for p in inside
            ):
                return path
        except (OSError, ValueError):  # too long, or NUL: names no file
            return None
    return None


def _named_by(text: str) -> str:
    """Return the name at the start of an address, or of any other text."""
    return text.partition("[")[0].strip()


def _inner_names(text: str) -> list[str]:
    """Return the names after the first of an address, such as "b" in "a[inner=b]"."""
    return re.findall(r"[\w-]+", text.partition("[")[2])


def _chosen(text: str) -> Mapping[str, str]:
    """Return the parameters in an address; none if the text is not one."""
    try:
        return address.parse(text)[1]
    except UsageError:
        return {}


def _is_shown(value: object) -> bool:
    """Return whether JSON text says all about a value."""
    try:
        json.dumps(value, default=str)
    except (TypeError, ValueError):  # keys that are no texts, or a list that contains itself
        return False
    if isinstance(value, dict):
        return type(value) is dict and all(map(_is_shown, value.values()))
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_shown, value))
    return type(value) in (str, int, float, bool, type(None)) or isinstance(value, Path)


def _shown(value: object) -> str:
    """Return a name, the same in every process, for a value that JSON cannot express."""
    if isinstance(value, Path):
        return str(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _text(build: Callable[..., Any]) -> str:
    """Return the source of code typed into a notebook or a prompt, or at least its name."""
    try:
        return inspect.getsource(build)
    except (OSError, TypeError):
        return getattr(build, "__qualname__", type(build).__qualname__)
