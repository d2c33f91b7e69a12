"""A request as users write it, and its cells: names looked up, defaults filled in."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from metabench import address
from metabench.address import plain
from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, Configured, configure
from metabench.errors import NothingToRun, UsageError, unknown
from metabench.files import read_file
from metabench.learner import Kind
from metabench.plugins.code_digest import cell_code
from metabench.plugins.registry import Plugins
from metabench.plugins.sources import PluginSources
from metabench.results import DEFAULT_FOLDER, TRIAL_FOLDER
from metabench.results.schema import MOST_COUNT, MOST_SECONDS, MOST_THREADS
from metabench.suites.builtin_suites import EMBEDDED
from metabench.suites.from_address import addressed_suite
from metabench.suites.suite import Suite
from metabench.supervisor.plan import cells, shard
from metabench.worker.memory_limit import can_limit_memory


@dataclass(frozen=True)
class Request:
    """A request as users write it; `bench.toml` has the same keys."""

    suites: Sequence[str | Suite] = EMBEDDED  # names, globs, or `folder:PATH` and `manifest:FILE`
    # addresses `name[param=value]`, with sweeps and globs; empty: all
    algorithms: Sequence[str] = ()
    seeds: int = 1  # how many seeds; they are 0, 1, ...
    budget: str = "smoke"  # smoke, standard, paper, tasks=N or seconds=S
    device: str = "cpu"  # cpu, cuda, cuda:1, mps, ... or auto
    train_on: str = ""  # train on this suite's base data instead of the suite's own
    jobs: int = 1  # cells side by side
    threads: int = 0  # of each learner process; 0: the machine's cores divided by jobs
    shard: str = ""  # "i/n": run only part i of n
    time_limit: float = 0.0  # seconds for each cell; 0: none
    memory_limit: float = 0.0  # MiB for each learner process; 0: none
    checkpoint_every: float = 30.0  # seconds of meta-training between checkpoints
    keep_checkpoints: bool = False  # keep the checkpoints of finished cells too
    results: str = ""  # the results folder; "": results, or results-smoke for the smoke budget
    data_root: str = ""  # where datasets are kept
    plugins: Sequence[str] = ()  # further plugins, as after `-p`
    plugins_dirs: Sequence[str] = ()  # folders of plugins
    allocator: bool = True  # start learner processes with the allocator settings
    blocks: int = 1  # of test episodes to score; the gate may need more than one
    # of the gate, by name or address of an algorithm
    margins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in fields(self):
            value, default = plain(getattr(self, one.name)), one.default
            if isinstance(default, bool | int | float | str):
                if not _like(value, default):
                    raise UsageError(f"{one.name}={value!r}: write {_SHOWN[type(default)]}")
                object.__setattr__(self, one.name, value)

    @property
    def results_folder(self) -> Path:
        """The folder for results."""
        return Path(self.results or (TRIAL_FOLDER if self.budget == "smoke" else DEFAULT_FOLDER))

    @property
    def sources(self) -> PluginSources:
        """Where its plugins come from."""
        return PluginSources.from_env(self.plugins_dirs, self.plugins)


def read_config(file: Path) -> dict[str, Any]:
    """Read a `bench.toml` and check its keys.

    Raises:
        UsageError: the file cannot be read, or a key or value is wrong.
    """
    try:
        values = tomllib.loads(read_file(file).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except RecursionError:
        raise UsageError(f"{file} is not valid: its values are nested too deeply") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise UsageError(f"{file} is not valid TOML: {error}") from None
    known = {f.name: {} if f.default is MISSING else f.default for f in fields(Request)}
    for key, value in values.items():
        if key not in known:
            raise unknown(f"key in {file}", key, known)
        if not _like(value, known[key]):
            shown = _SHOWN[type(known[key])]
            raise UsageError(f"{file}: {key} = {value!r}, write {shown}")
        if value == "" or (isinstance(value, list) and "" in value):
            raise UsageError(f"{file}: {key} has an empty text: leave it out")
    return values


_MOST = {"seeds": 100_000, "jobs": 10_000, "threads": MOST_THREADS}
_LEAST = {
    "seeds": 1,
    "jobs": 1,
    "blocks": 1,
    "threads": 0,
    "time_limit": 0,
    "memory_limit": 0,
    "checkpoint_every": 0,
}

_SHOWN = {
    tuple: 'a list of strings, like ["a", "b"]',
    dict: 'a table of strings, like {maml = "1pp"}',
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _like(value: Any, default: Any) -> bool:
    """Return whether a value of the file has the type of a default."""
    if isinstance(default, tuple):
        return isinstance(value, list) and all(map(_is_text, value))
    if isinstance(default, dict):
        return isinstance(value, dict) and all(map(_is_text, value.values()))
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str):
        return _is_text(value)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value  # which no path may contain


def request_cells(request: Request, plugins: Plugins) -> list[Cell]:
    """Return the cells of a request.

    Raises:
        UsageError: a name, parameter or number is wrong.
        NothingToRun: there is no suite or algorithm, or the shard is empty.
    """
    check_numbers(request)
    data_root = request.data_root or None
    suites = find_suites(request.suites, plugins, data_root)
    algorithms = {
        kind: find_algorithms(request.algorithms, plugins, kind)
        for kind in sorted({suite.kind for suite in suites})
    }
    for what, some in (("suite", suites), ("algorithm", any(algorithms.values()))):
        if not some:
            raise NothingToRun(f"there is no {what} to run; see metabench list {what}s")
    found = cells(
        suites,
        algorithms,
        range(request.seeds),
        find_budget(request.budget),
        find_device(request.device),
        find_suite(request.train_on, plugins, data_root) if request.train_on else None,
    )
    if request.shard:
        found = shard(found, *_shard(request.shard))
    if not found:
        raise NothingToRun(f"shard {request.shard} has no cells: nothing to run")
    return [with_code(cell, plugins) for cell in found]


def find_suites(
    names: Sequence[str | Suite], plugins: Plugins, data_root: str | None
) -> list[Suite]:
    """Find suites by name, glob or address, each once; `Suite` objects are kept as they are.

    Raises:
        UsageError: there is no such suite, or two have the same name.
        DataError: the data of an address cannot be read.
    """
    found: dict[str, Suite] = {}
    for text in names:
        matches = [text]
        if isinstance(text, str) and _is_glob(text):
            matches = [k for k in plugins.suites if fnmatchcase(k, text)] or [text]
        for name in matches:
            suite = name
            if not isinstance(suite, Suite):
                suite = addressed_suite(suite, data_root) or plugins.suite(suite).spec
            first = found.setdefault(suite.name, suite)
            if not _are_one(first, suite, data_root):  # their results would overwrite each other
                places = [one.address or f"a suite of {one.dataset_name}" for one in (first, suite)]
                raise UsageError(
                    f"two suites are both called {suite.name}: {' and '.join(places)}; give one of "
                    "them another name, or run them one at a time, each with its own --results"
                )
    return list(found.values())


def _are_one(one: Suite, other: Suite, data_root: str | None) -> bool:
    """Return whether two suites of one name have the same address, otherwise the same content."""
    if one.address and other.address:
        return one.address == other.address
    return one == other or one.content(data_root) == other.content(data_root)


def find_suite(name: str, plugins: Plugins, data_root: str | None) -> Suite:
    """Find the one suite of a name, glob or address.

    Raises:
        UsageError: there is no such suite, or more than one.
        DataError: the data of an address cannot be read.
    """
    found = find_suites([name], plugins, data_root)
    if len(found) > 1:
        names = ", ".join(suite.name for suite in found)
        raise UsageError(f"'{name}' matches {names}: name one suite")
    return found[0]


def find_algorithms(
    texts: Sequence[str], plugins: Plugins, kind: Kind = "classification"
) -> list[Configured]:
    """Find algorithms by address, sweep or glob, each once; all of them if none is named.

    Args:
        texts: the addresses.
        plugins: where algorithms come from.
        kind: of the suites that they run on; defaults may depend on it.
    """
    found: dict[str, Configured] = {}
    for text in texts or list(plugins.algorithms):
        for one in address.expand(text):
            name, given = address.parse(one)
            names = [k for k in plugins.algorithms if _is_glob(name) and fnmatchcase(k, name)]
            for match in names or [name]:
                configured = find_algorithm(match, given, plugins, kind)
                found[configured.address] = configured
    return list(found.values())


def find_algorithm(
    name: str, given: Mapping[str, str], plugins: Plugins, kind: Kind = "classification"
) -> Configured:
    """Find an algorithm by name, with parameters whose values are text.

    Raises:
        UsageError: there is no such algorithm or parameter, or a value has another type.
    """
    provided = plugins.algorithm(name)
    declared = {one: found.spec.params for one, found in plugins.backbones.items()}
    configured = configure(provided.spec.on(kind), given, provided.provider, declared)
    _check_backbone(configured, plugins)
    return configured


def as_stored(text: str, plugins: Plugins, kind: Kind) -> str:
    """Return the address of an algorithm as results have it.

    Parameters that were written out stay, because defaults may have changed since. A text stays
    as it is if it is a glob, or means nothing to the plugins that are loaded.
    """
    try:
        written = list(address.expand(text))
        name, given = address.parse(written[0])
        configured = find_algorithm(name, given, plugins, kind)
    except UsageError:
        return text
    if len(written) > 1:
        return text
    values = {**configured.params, **configured.chosen}
    return address.write(name, {key: values[key] for key in given if key in values})


def with_code(cell: Cell, plugins: Plugins) -> Cell:
    """Return the cell with its code.

    Raises:
        UsageError: a file that its algorithm or backbone declares cannot be read.
    """
    name, params = cell.configured.algorithm.name, cell.configured.params
    return replace(cell, code=cell_code(plugins, name, params, cell.kind, cell.suite_code))


def find_budget(text: str) -> Budget:
    """Read a budget.

    Raises:
        UsageError: it cannot be read, or no machine could get through with it.
    """
    budget = Budget.parse(text)
    most = MOST_COUNT if budget.unit == "tasks" else MOST_SECONDS
    if budget.amount > most:
        raise UsageError(f"budget '{text}': ask for at most {most:.0f} {budget.unit}")
    return budget


def find_device(name: str) -> str:
    """Return a device that exists here; "auto" is an accelerator if there is one.

    Raises:
        UsageError: the device is not available.
    """
    if name == "cpu":
        return name
    import torch

    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return "cpu" if here is None else here.type
    kind, _, index = name.partition(":")
    count = torch.accelerator.device_count() if here is not None else 0
    available = here is not None and here.type == kind
    if not available or index not in ("", *map(str, range(count))):
        others = "cpu" if here is None else f"cpu, {here.type} ({count})"
        raise UsageError(f"device '{name}' is not available here; there is {others}")
    return name


def check_numbers(request: Request) -> None:
    """Refuse numbers that are out of range.

    Raises:
        UsageError: a number is too small, too large or not finite.
    """
    for what, least in _LEAST.items():
        value = getattr(request, what)
        if not least <= value < math.inf:
            shown = value if isinstance(value, int) else f"{value:g}"
            raise UsageError(f"{what}={shown}: ask for at least {least}")
    for what, most in _MOST.items():
        if (value := getattr(request, what)) > most:
            raise UsageError(f"{what}={value}: ask for at most {most}")
    if request.memory_limit and not can_limit_memory():
        raise UsageError("memory_limit: only Linux supports this limit; leave it out")


def _check_backbone(configured: Configured, plugins: Plugins) -> None:
    """Refuse a backbone that does not exist, or a parameter or value of it, before a cell runs."""
    text = configured.params.get("backbone")
    if isinstance(text, str):
        name, given = address.parse(text)
        plugins.backbone(name).spec.resolve(given)


def _is_glob(name: str) -> bool:
    return any(char in name for char in "*?")


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is not None and 1 <= int(found[1]) <= int(found[2]):
        return int(found[1]), int(found[2])
    raise UsageError(f"shard '{text}': write i/n with 1 <= i <= n, e.g. 1/4")
