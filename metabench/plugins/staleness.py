"""Stale results: those whose code has changed since, and the definitions that changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from metabench.errors import UsageError
from metabench.plugins.code_digest import Code, cell_code

if TYPE_CHECKING:
    from metabench.plugins.registry import Plugins
    from metabench.results.schema import Result, SuiteFacts
    from metabench.results.store import Store

# "unknown": the plugin or the suite is not loaded, or a file or folder that a parameter names is
# not here.
CodeState = Literal["current", "stale", "unknown"]


def is_stale(result: Result, code: Code | None) -> bool:
    """Return whether a result was computed by code other than this; False if that is unknown."""
    return code_state(result, code) == "stale"


def code_state(result: Result, code: Code | None) -> CodeState:
    """Compare the code of a result with the current code of its cell; None: it is not found."""
    if code is None or _lacks_file(result, code):
        return "unknown"
    return "stale" if code.digest != result.job.code else "current"


def _lacks_file(result: Result, code: Code) -> bool:
    """Return whether a parameter names a file or folder that was there then and is not now."""
    params = result.job.params
    for name in result.job.files.keys() - code.files.keys():
        backbone, _, parameter = name.rpartition(":")
        if not backbone and parameter in params:
            return True
        if backbone and any(f"{parameter}=" in str(value) for value in params.values()):
            return True
    return False


def code_states(plugins: Plugins, results: Iterable[Result]) -> list[CodeState]:
    """Compare the code of each result with the current code of its cell."""
    return [code_state(result, code) for result, code in current_codes(plugins, results)]


def current_codes(
    plugins: Plugins, results: Iterable[Result]
) -> Iterator[tuple[Result, Code | None]]:
    """Yield each result with the current code of its cell; None where it cannot be found."""
    codes: dict[tuple[object, ...], Code | None] = {}  # seeds share one
    for result in results:
        job, kind = result.job, result.suite.kind
        suite_code = _suite_code(plugins, result.suite)
        key = (job.algorithm, tuple(sorted(job.params.items())), kind, suite_code)
        if key not in codes:
            codes[key] = None
            with contextlib.suppress(UsageError):
                if suite_code is not None:
                    codes[key] = cell_code(plugins, job.algorithm, job.params, kind, suite_code)
        yield result, codes[key]


def _suite_code(plugins: Plugins, suite: SuiteFacts) -> tuple[str, ...] | None:
    """Return `Cell.suite_code` for a result's suites, without opening them; None if unknown."""
    from metabench.suites.from_address import code_at

    if not suite.address and suite.name in plugins.suites:
        now = plugins.suites[suite.name].spec
        then = (suite.dataset, suite.way, suite.shot, suite.query, suite.episodes, suite.metric)
        if then != (now.dataset_name, now.way, now.shot, now.query, now.episodes, now.metric):
            return None  # another suite has the name now
    found: list[str] = []
    for name, address in (
        (suite.name, suite.address),
        (suite.train_on, suite.train_on_address),
    ):
        if address:
            try:
                found += code_at(address)
            except KeyError:  # of another version of metabench
                return None
        elif name in plugins.suites:
            found += plugins.suites[name].spec.code
        elif name is not None:  # made in Python, or of a plugin that is not loaded
            return None
    return tuple(found)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the differences between the `definitions` of two versions of a cell's code.

    Returns:
        Names; a definition that only one version has is "name (new)" or "name (gone)".
        Definitions that were moved or renamed are left out.
    """
    kept = {*before.values()} & {*now.values()}
    names = sorted({*before, *now})
    return [
        *(name for name in names if name in before and name in now and before[name] != now[name]),
        *(f"{name} (new)" for name in names if name not in before and now[name] not in kept),
        *(f"{name} (gone)" for name in names if name not in now and before[name] not in kept),
    ]


def changed_code(store: Store, result: Result, code: Code | None) -> list[str]:
    """List what has changed in the code of a cell since its result was made.

    Args:
        store: the folder of the result.
        result: the result.
        code: the current code of its cell; None if there is no such algorithm.

    Returns:
        Names of definitions; [] if nothing has changed or the current code is unknown.
    """
    if code is None or code.digest == result.job.code:
        return []
    before = store.load_code(result.job.code)
    if before is None:
        return ["unknown definitions, because no list of them was kept"]
    return changes(before, code.definitions) or ["references between definitions"]
