"""The plugins that are loaded, and the catalogue of what they provide.

A plugin that cannot be imported, or whose hook raises an exception, becomes a failed row and a
warning. The others stay.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import pluggy

from metabench.errors import UsageError, unknown
from metabench.learner import Algorithm, Backbone
from metabench.plugins import builtin_catalogue, hookspecs
from metabench.plugins.interpreter import kept_whole
from metabench.plugins.process_state import import_settings, no_exit, put_back
from metabench.plugins.sources import RESTRICT, Candidate, PluginSources, candidates, origin_of
from metabench.text import shortened

if TYPE_CHECKING:
    from metabench.cell.cell import Cell
    from metabench.plugins.code_reader import CodeReader
    from metabench.results.schema import Result
    from metabench.suites.suite import Suite

BUILTIN = "metabench"  # the provider of suites and backbones that need no plugin

_LONGEST = 500  # characters of an error
_SLOW = 15.0  # seconds; importing torch on a slow disk takes less

log = logging.getLogger(__name__)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


@dataclass(frozen=True)
class Provided(Generic[T]):
    """An entry of the catalogue.

    Attributes:
        spec: its specification.
        provider: the name of its plugin.
        origin: the file of that plugin.
        module: the module of that plugin.
    """

    spec: T
    provider: str
    origin: Path | None
    module: str


@dataclass
class PluginRow:
    """The state of one plugin, as `metabench plugins` shows it.

    A plugin that fails while it is loaded provides nothing. One whose hook fails later keeps what
    its other hooks provide.
    """

    name: str
    version: str = ""
    origin: str = ""
    hooks: tuple[str, ...] = ()
    status: Literal["active", "blocked", "failed"] = "active"
    error: str = ""  # one line: the reason of the failure, or what blocks it
    named: bool = False  # by `-p` or `--plugins-dir`; others are installed


class PluginFailed(Exception):
    """Code of a plugin failed; the message is one line."""


class Plugins:
    """The loaded plugins and their catalogue; built by `load_plugins`.

    Attributes:
        rows: one for each plugin, in the order of the sources.
        warnings: one line each.
        code_readers: caches of the plugins' code, keyed by the packages that each reader reads.
    """

    def __init__(self, sources: PluginSources) -> None:
        self.rows: list[PluginRow] = []
        self.warnings: list[str] = []
        self.code_readers: dict[frozenset[str], CodeReader] = {}
        self._registered: dict[str, PluginRow] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._registered[BUILTIN] = PluginRow(BUILTIN)
        self._manager.register(builtin_catalogue, name=BUILTIN)
        for name in sources.blocked:
            if name != BUILTIN:
                self._manager.set_blocked(name)
        for candidate in candidates(sources):
            self._admit(candidate, sources)
        self._check_pending()
        self._check_names("-p no:", sources.blocked)
        self._check_names(f"{RESTRICT}=", sources.restrict or ())

    @cached_property
    def algorithms(self) -> dict[str, Provided[Algorithm]]:
        """The catalogue of algorithms by name.

        Raises:
            UsageError: two plugins provide the same name. Likewise for `suites` and `backbones`.
        """
        return self._collect("metabench_algorithms", "algorithm", Algorithm)

    @cached_property
    def suites(self) -> dict[str, Provided[Suite]]:
        """The catalogue of suites by name."""
        from metabench.suites.suite import Suite

        return self._collect("metabench_suites", "suite", Suite)

    @cached_property
    def backbones(self) -> dict[str, Provided[Backbone]]:
        """The catalogue of backbones by name."""
        return self._collect("metabench_backbones", "backbone", Backbone)

    def algorithm(self, name: str) -> Provided[Algorithm]:
        """Return an algorithm by its name.

        Raises:
            UsageError: no plugin provides it. Likewise for `suite` and `backbone`.
        """
        return self._find("algorithm", name, self.algorithms)

    def suite(self, name: str) -> Provided[Suite]:
        """Return a suite by its name."""
        return self._find("suite", name, self.suites)

    def backbone(self, name: str) -> Provided[Backbone]:
        """Return a backbone by its name."""
        return self._find("backbone", name, self.backbones)

    def cell_finished(self, cell: Cell, result: Result) -> None:
        """Call the hooks that observe cells; log exceptions as warnings."""
        self._notify("metabench_cell_finished", {"cell": cell, "result": result})

    def report(self, results: list[Result], out: Path) -> None:
        """Call the hooks that write reports to `out`; log exceptions as warnings."""
        self._notify("metabench_report", {"results": results, "out": out})

    @property
    def not_loaded(self) -> list[str]:
        """The plugins that were named and have failed, with the reasons, one line each."""
        failed = [row for row in self.rows if row.named and row.status == "failed"]
        return [f"plugin '{row.name}': {row.error}" for row in failed]

    def _admit(self, candidate: Candidate, sources: PluginSources) -> None:
        """Import and register a candidate, unless it is already loaded or left out."""
        if candidate.origin and any(row.origin == candidate.origin for row in self.rows):
            return
        row = PluginRow(candidate.name, candidate.version, candidate.origin)
        row.named = not candidate.entry_point
        self.rows.append(row)
        left_out = sources.restrict is not None and row.name not in sources.restrict
        if self._manager.is_blocked(row.name):
            row.status, row.error = "blocked", f"by -p no:{row.name}"
        elif candidate.entry_point and left_out:
            row.status, row.error = "blocked", f"not in {RESTRICT}"
        elif row.name in self._registered:
            self._fail(row, "another plugin has the same name")
        else:
            self._register(row, candidate)
        log.info("plugin '%s' is %s (%s)", row.name, row.status, row.origin or "no file")

    def _register(self, row: PluginRow, candidate: Candidate) -> None:
        plugin = None
        try:
            code = _plugin_code(row.name, "being imported")
            with put_back(import_settings) as changed, code:
                with kept_whole(changed):
                    plugin = candidate.load()
                self._manager.register(plugin, name=row.name)
            for what in changed:
                self.warnings.append(
                    f"plugin '{row.name}' changes {what} when it is imported; it was restored"
                )
            self._registered[row.name] = row
        except PluginFailed as failed:
            if self._manager.has_plugin(row.name):
                self._manager.unregister(name=row.name)
            self._fail(row, str(failed))
        row.origin = row.origin or origin_of(candidate.module)
        row.version = row.version or str(getattr(plugin, "__version__", ""))
        row.hooks = tuple(sorted(caller.name for caller in self._callers(row)))
        if row.status == "active" and not row.hooks:
            self.warnings.append(
                f"plugin '{row.name}' has no hooks: mark metabench_algorithms or another hook "
                "with @metabench.hookimpl"
            )

    def _check_pending(self) -> None:
        """Remove every plugin with a hook that does not exist or cannot be called."""
        known = [caller.name for caller in vars(self._manager.hook).values() if caller.has_spec()]
        for row in list(self._registered.values()):
            plugin = self._manager.get_plugin(row.name)
            for caller in self._callers(row):
                mine = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
                if not caller.has_spec() and not all(impl.optionalhook for impl in mine):
                    self._fail(row, str(unknown("hook", caller.name, known)))
                elif any(impl.wrapper or impl.hookwrapper for impl in mine):
                    self._fail(row, f"{caller.name} is a wrapper, which metabench does not call")
            if row.status == "failed":
                self._manager.unregister(plugin)
                del self._registered[row.name]
        self._manager.check_pending()

    def _callers(self, row: PluginRow) -> list[pluggy.HookCaller]:
        """Return the hooks that a plugin implements."""
        plugin = self._manager.get_plugin(row.name)
        return (self._manager.get_hookcallers(plugin) if plugin is not None else None) or []

    def _check_names(self, where: str, names: Iterable[str]) -> None:
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                self.warnings.append(f"{where}{name}: {unknown('plugin', name, known)}")

    def _collect(self, hook: str, kind: str, spec_type: type[T]) -> dict[str, Provided[T]]:
        found: dict[str, Provided[T]] = {}
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            row = self._registered[impl.plugin_name]
            try:
                with _plugin_code(row.name):
                    specs = _exhaust(impl.function, spec_type)
            except PluginFailed as failed:
                self._fail(row, f"{hook}: {failed}")
                continue
            for spec in specs:
                if spec.name in found:
                    raise UsageError(
                        f"two plugins provide the {kind} '{spec.name}': "
                        f"{found[spec.name].provider} and {row.name}; "
                        f"rename one or leave it out with -p no:{row.name}"
                    )
                origin = Path(row.origin) if row.origin else None
                module = getattr(impl.plugin, "__name__", impl.function.__module__)
                found[spec.name] = Provided(spec, row.name, origin, module)
        return found

    def _find(self, kind: str, name: str, known: dict[str, Provided[T]]) -> Provided[T]:
        if name in known:
            return known[name]
        failed = "; ".join(f"{r.name}: {r.error}" for r in self.rows if r.status == "failed")
        raise unknown(kind, name, known, f"(plugins that failed: {failed})" if failed else "")

    def _notify(self, hook: str, values: dict[str, Any]) -> None:
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                with _plugin_code(impl.plugin_name):
                    impl.function(*[values[name] for name in impl.argnames])
            except PluginFailed as failed:
                log.warning("plugin '%s' failed in %s: %s", impl.plugin_name, hook, failed)

    def _fail(self, row: PluginRow, error: str) -> None:
        if row.status != "failed":
            row.status, row.error = "failed", error
            self.warnings.append(f"plugin '{row.name}' failed: {error}")


def load_plugins(sources: PluginSources | None = None) -> Plugins:
    """Load the plugins of all sources; None: the sources that the environment names.

    Raises:
        UsageError: a folder, module or file that was named does not exist.
    """
    return Plugins(sources if sources is not None else PluginSources.from_env())


def _exhaust(hook: Callable[[], Any], spec_type: type[T]) -> list[T]:
    """Return every specification that a hook returns or yields."""
    given = hook()
    if given is None or isinstance(given, spec_type):
        shown = "nothing" if given is None else f"a single {spec_type.__name__}"
        raise TypeError(f"it returned {shown}; return a list or yield")
    specs = list(given)
    for spec in specs:
        if not isinstance(spec, spec_type):
            raise TypeError(f"it provided {spec!r}, not a metabench.{spec_type.__name__}")
    return specs


@contextmanager
def _plugin_code(name: str, doing: str = "running") -> Iterator[None]:
    """Run code of a plugin, and name the plugin if that takes long, because it may never end.

    Raises:
        PluginFailed: the code raised an exception, or tried to end this process.
    """
    warning = f"plugin '{name}' is still {doing}; leave it out with -p no:{name}"
    timer = threading.Timer(_SLOW, log.warning, [warning])
    timer.daemon = True
    with suppress(RuntimeError):  # there can be no more threads
        timer.start()
    try:
        with no_exit():
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # scripts call sys.exit
        raise PluginFailed(_line(error)) from error
    finally:
        timer.cancel()


def _line(error: BaseException) -> str:
    """Return an exception as one line of text."""
    try:
        text = str(error)
    except Exception as failed:
        text = f"its text cannot be shown: {type(failed).__name__}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not isinstance(error, pluggy.PluginValidationError):
        lines = lines[:1]  # pluggy names the plugin and the hook first, then the problem
    said = shortened("; ".join(lines), _LONGEST)
    return f"{type(error).__name__}: {said}" if lines else type(error).__name__
