"""The digest of the source that a cell runs on; where it differs, a result is stale."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.address import Value
from metabench.errors import UsageError
from metabench.learner import Algorithm, Backbone, Kind

if TYPE_CHECKING:
    from metabench.plugins import Plugins
    from metabench.results.schema import Result

PACKAGE = Path(__file__).parent
# What a learner process runs besides the plugin; the command line and the tables are not in it.
CORE = (
    *("learner.py", "address.py", "nets", "suites", "data", "harness"),
    *("results/scores.py", "results/calibration.py"),
)
# Files in it that decide which cells are run, when and how safely, but not what comes out.
APART = frozenset(
    f"harness/{name}.py"
    for name in (
        *("again", "conditions", "duel", "estimate", "guardian", "home", "inside", "library"),
        "logfile",
        *("plan", "process", "record", "request", "runner", "supervisor"),
    )
)


def cell_code(
    plugins: Plugins, name: str, params: Mapping[str, Value], kind: Kind = "classification"
) -> str:
    """The digest for an algorithm of the catalogue with its parameters resolved.

    Raises:
        UsageError: the algorithm, or the backbone it is to be built on, does not exist.
    """
    provided = plugins.algorithm(name)
    asked = params.get("backbone")
    if isinstance(asked, str):
        plugins.backbone(_named_by(asked))
    named = {_named_by(value) for value in params.values() if isinstance(value, str)}
    # A learner may also ask its task for one by a name of its own.
    elsewhere = {name for name, found in plugins.backbones.items() if found.origin} - named
    if elsewhere:
        own = b"".join(content for _, content in _plugin(provided.spec.build, provided.origin))
        named |= {name for name in elsewhere if name.encode() in own}
    backbones = [found for name, found in plugins.backbones.items() if name in named]
    return source_digest(
        provided.spec.on(kind),
        provided.origin,
        [(found.spec, found.origin) for found in backbones],
    )


def stale(plugins: Plugins, results: Iterable[Result]) -> list[bool]:
    """For each result whether its code has changed; what is not there now cannot have."""
    codes: dict[tuple[object, ...], str | None] = {}  # seeds and suites share one
    found = []
    for result in results:
        job, kind = result.job, result.suite.kind
        key = (job.algorithm, tuple(sorted(job.params.items())), kind)
        if key not in codes:
            try:
                codes[key] = cell_code(plugins, job.algorithm, job.params, kind)
            except UsageError:
                codes[key] = None
        found.append(codes[key] not in (None, job.code))
    return found


def source_digest(
    algorithm: Algorithm,
    origin: Path | None = None,
    backbones: Sequence[tuple[Backbone, Path | None]] = (),
) -> str:
    """SHA-256 hex digest of everything that decides what a cell of an algorithm computes.

    That is what its catalogue entry declares, the file its learner is built in, what that
    file imports (transitively) from the same package or folder, and the parts of metabench
    that a learner runs on. Nothing is imported to find them, so an import made at run time
    by a computed name is not seen. Names and contents count, folders do not: every machine
    gets the same digest.

    Args:
        algorithm: the catalogue entry.
        origin: the plugin's file; used where the file of `build` cannot be told.
        backbones: those that it is built on, and the files of their plugins.
    """
    declared: dict[str, Any] = {
        "params": dict(algorithm.params),
        "budgets": dict(algorithm.budgets),
        "training": asdict(algorithm.training),
    }
    digest = hashlib.sha256(json.dumps(declared, sort_keys=True, default=str).encode())
    sources = [*_plugin(algorithm.build, origin), *_core()]
    for spec, file in backbones:
        digest.update(json.dumps(dict(spec.params), sort_keys=True, default=str).encode())
        sources += _plugin(spec.build, file)
    for name, content in sources:
        content = content.replace(b"\r\n", b"\n")  # as checked out on another system
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _named_by(text: str) -> str:
    """The name at the beginning of an address, or of any other text."""
    return text.partition("[")[0].strip()


def _named(value: object) -> str:
    """Something that JSON cannot say, by a name that is the same in every process."""
    if isinstance(value, Path):
        return str(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _core() -> Iterator[tuple[str, bytes]]:
    for path in (PACKAGE / part for part in CORE):
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            name = file.relative_to(PACKAGE).as_posix()
            if name not in APART:
                yield name, file.read_bytes()


def _plugin(build: str | Callable[..., Any], origin: Path | None) -> Iterator[tuple[str, bytes]]:
    while isinstance(build, functools.partial):
        given = [build.args, build.keywords]
        yield "partial", json.dumps(given, sort_keys=True, default=_named).encode()
        build = build.func
    module = build.partition(":")[0] if isinstance(build, str) else build.__module__
    start = _locate(module)
    if start is None and origin is not None:
        start = _Source(origin, origin.parent, "")
    if start is not None:
        yield from _reachable(start)
    else:
        yield "build", (build if isinstance(build, str) else _text(build)).encode()


def _text(build: Callable[..., Any]) -> str:
    """The source of something typed into a notebook or a prompt, or at least its name."""
    try:
        return inspect.getsource(build)
    except (OSError, TypeError):
        return getattr(build, "__qualname__", type(build).__qualname__)


class _Source(NamedTuple):
    """A file, and the code that belongs to the same plugin.

    Attributes:
        file: the file.
        folder: the folder of its top-level package; for a single file the one it lies in.
        package: the name of that package; "" for a single file.
    """

    file: Path
    folder: Path
    package: str


def _locate(module: str) -> _Source | None:
    """Where a module's source lies, without importing it or its parent packages."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # "__main__" has no spec
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        single = Path(spec.origin or "")
        return _Source(single, single.parent, "") if single.suffix == ".py" else None
    folder = Path(next(iter(spec.submodule_search_locations)))
    file = _module_file(folder.joinpath(*rest))
    return None if file is None else _Source(file, folder, top)


def _reachable(start: _Source) -> Iterator[tuple[str, bytes]]:
    """The name and content of a file and of everything it imports from the same plugin."""
    contents: dict[Path, bytes] = {}
    todo = [start.file]
    while todo:
        file = todo.pop()
        if file not in contents:
            contents[file] = file.read_bytes()
            todo += _imports(file, contents[file], start)
    for file in sorted(contents):
        yield file.relative_to(start.folder).as_posix(), contents[file]


def _imports(file: Path, content: bytes, start: _Source) -> Iterator[Path]:
    try:
        with warnings.catch_warnings(action="ignore"):  # importing it will tell, not this
            tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                home = _path(alias.name, 0, file, start)
                # `import a.b` runs a/__init__.py too. That of the plugin's own package is its
                # catalogue, which says nothing of a learner.
                around = [p for p in home.parents if start.folder in p.parents] if home else []
                yield from filter(None, map(_module_file, [home, *around]))
        elif isinstance(node, ast.ImportFrom):
            home = _path(node.module or "", node.level, file, start)
            for alias in node.names:  # a submodule, or a name in the package's __init__.py
                submodule = home and _module_file(home / alias.name)
                yield from filter(None, [submodule or _module_file(home)])


def _path(module: str, level: int, file: Path, start: _Source) -> Path | None:
    """Where an imported module would lie, without suffix; None outside the plugin."""
    parts = module.split(".") if module else []
    if level:
        home = file.parents[min(level, len(file.parents)) - 1]
        return home.joinpath(*parts) if home.is_relative_to(start.folder) else None
    if start.package:
        return start.folder.joinpath(*parts[1:]) if parts[0] == start.package else None
    if start.folder.name in ("site-packages", "dist-packages"):
        return None  # what lies beside an installed file is not its own
    return start.folder.joinpath(*parts)


def _module_file(path: Path | None) -> Path | None:
    """The file of the module or package that lies at a path without suffix."""
    if path is None:
        return None
    found = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((file for file in found if file.is_file()), None)
