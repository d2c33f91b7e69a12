"""A request as users write it, in Python, on the command line or in `bench.toml`."""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from metabench.address import plain
from metabench.errors import UsageError, reason, unknown
from metabench.files import read_file
from metabench.plugins.sources import PluginSources
from metabench.results import DEFAULT_FOLDER, TRIAL_FOLDER
from metabench.results.schema import MOST_THREADS
from metabench.suites.builtin_suites import EMBEDDED
from metabench.suites.suite import Suite
from metabench.supervisor.lookup import find_budget
from metabench.text import one_line


@dataclass(frozen=True)
class Request:
    """A request as users write it; `bench.toml` has the same keys.

    Raises:
        UsageError: a value has another type, or is out of range.
    """

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
            value = plain(getattr(self, one.name))
            default = {} if one.default is MISSING else one.default
            if not _like(value, default):
                given = one_line(repr(value))
                raise UsageError(f"{one.name}={given}: write {_SHOWN[type(default)]}")
            object.__setattr__(self, one.name, value)
        for name, least in _MIN.items():
            value = getattr(self, name)
            if not least <= value < math.inf:
                shown = value if isinstance(value, int) else f"{value:g}"
                raise UsageError(f"{name}={shown}: must be at least {least}")
        for name, most in _MAX.items():
            if (value := getattr(self, name)) > most:
                raise UsageError(f"{name}={value}: must be at most {most}")
        if self.memory_limit and sys.platform != "linux":
            raise UsageError("memory_limit: only Linux supports this limit; leave it out")
        part = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", self.shard or "1/1")
        if part is None or not 1 <= int(part[1]) <= int(part[2]):
            raise UsageError(f"shard '{self.shard}': write i/n with 1 <= i <= n, e.g. 1/4")
        find_budget(self.budget)

    @property
    def results_folder(self) -> Path:
        """The folder for results."""
        return Path(self.results or (TRIAL_FOLDER if self.budget == "smoke" else DEFAULT_FOLDER))

    @property
    def sources(self) -> PluginSources:
        """Where its plugins come from."""
        return PluginSources.from_env(self.plugins_dirs, self.plugins)


def read_config(file: Path) -> dict[str, Any]:
    """Read a `bench.toml` and check its keys and values.

    Raises:
        UsageError: the file cannot be read, or a key or value is wrong, such as a number that is
            out of range.
    """
    try:
        values = tomllib.loads(read_file(file).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {reason(error)}") from None
    except RecursionError:
        raise UsageError(f"{file} is not valid: its values are nested too deeply") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise UsageError(f"{file} is not valid TOML: {error}") from None
    known = [field.name for field in fields(Request)]
    for key in values:
        if key not in known:
            raise unknown(f"key in {file}", key, known)
    for key, value in values.items():
        if value == "" or (isinstance(value, list) and "" in value):
            raise UsageError(f"{file}: {key} has an empty text: leave it out")
    try:
        Request(**values)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    return values


_MAX = {"seeds": 100_000, "jobs": 10_000, "threads": MOST_THREADS}
_MIN = {
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
    """Return whether a value has the type of a default."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(
            _is_text(one) or (isinstance(one, Suite) and default == EMBEDDED) for one in value
        )
    if isinstance(default, dict):
        return isinstance(value, Mapping) and all(map(_is_text, value.values()))
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str):
        return _is_text(value)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value  # which no path may contain
