"""The baseline of the gate: stored results, grouped by case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from metabench import address
from metabench.cell.cell import Cell
from metabench.errors import DataError, NothingToRun
from metabench.plugins.registry import Plugins
from metabench.results.schema import Result
from metabench.results.store import ALTERED, Store
from metabench.statistics.non_inferiority import LOOKS
from metabench.suites.from_address import name_of
from metabench.supervisor.lookup import as_stored
from metabench.text import shell_line

Stored = tuple[Path, Result]


@dataclass(frozen=True, eq=False)
class Case:
    """One algorithm on one suite, with its results in the baseline."""

    stored: Sequence[Stored]  # its results by seed, and their files in the baseline
    cells: Sequence[Cell] = ()  # the same cells with the current code
    error: str = ""  # why there are no cells

    @property
    def old(self) -> list[Result]:
        """The baseline's results, by seed."""
        return [result for _, result in self.stored]

    @property
    def looks(self) -> int:
        """The number of possible looks: one for each block that all seeds have."""
        return min(LOOKS, 1 + min(len(result.blocks) for result in self.old))


def select(
    baseline: Path,
    suites: Sequence[str],
    algorithms: Sequence[str],
    plugins: Plugins,
    data_root: str | None = None,
) -> tuple[list[Stored], list[Path]]:
    """Select the baseline's results for these suites and algorithms.

    Args:
        baseline: the results folder.
        suites: names, globs or addresses; none: all.
        algorithms: names, globs or addresses; none: all.
        plugins: where algorithms come from.
        data_root: where the data of addresses is kept.

    Returns:
        Results with scores, and the files of results that failed.

    Raises:
        NothingToRun: there are none.
        DataError: a file cannot be read; skipping it would leave a cell untested.
    """
    names = [name_of(text, data_root) for text in suites]
    try:
        stored = list(_load(Store(baseline), names, algorithms))
    except DataError as error:
        raise DataError(f"{error}; make this baseline again") from error
    found = [
        (path, result)
        for path, result in stored
        if (not names or _any_fits(result.suite.name, names))
        and (not algorithms or any(_is_named(result, name, plugins) for name in algorithms))
    ]
    missing = [
        f"-s {text}"
        for text, name in zip(suites, names, strict=True)
        if not any(fnmatchcase(r.suite.name, name) for _, r in stored)
    ]
    missing += [
        f"-a {n}" for n in algorithms if not any(_is_named(r, n, plugins) for _, r in found)
    ]
    if found and missing:
        raise NothingToRun(f"nothing in baseline '{baseline}' for {' '.join(missing)}")
    scored = [(path, result) for path, result in found if result.status == "ok"]
    if not scored:
        asked = " ".join([*(f"-s {name}" for name in suites), *(f"-a {n}" for n in algorithms)])
        make = "metabench run --blocks 3 --seeds 3 " + shell_line(["--results", str(baseline)])
        advice = f" for {asked}" if asked else f"; make some with: {make}"
        raise NothingToRun(f"no scores in baseline '{baseline}'{advice}")
    without = [path for path, r in found if r.status not in ("ok", "not_applicable")]
    return scored, without


def _load(store: Store, suites: Sequence[str], algorithms: Sequence[str]) -> Iterator[Stored]:
    for path in store.paths():
        if _may_match(path, suites, algorithms) and (result := store.load(path)) is not None:
            if result.altered:
                raise DataError(f"{store.root / path}: {ALTERED}")
            yield path, result


def _may_match(path: Path, suites: Sequence[str], algorithms: Sequence[str]) -> bool:
    """Return whether a file may match, judged by its folders, so that others may be damaged."""
    suite, algorithm, _ = path.parts
    names = [address.parse(one).name for text in algorithms for one in address.expand(text)]
    return (not suites or _any_fits(suite, suites)) and (not names or _any_fits(algorithm, names))


def _any_fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_named(result: Result, name: str, plugins: Plugins) -> bool:
    """Return whether a name means the algorithm of a result.

    A name means the default parameters, as in `run`. A glob is matched with the whole address.
    """
    if any(char in name for char in "*?"):
        return fnmatchcase(result.job.address, name.replace("[", "[[]"))
    job = result.job
    name = as_stored(name, plugins, result.suite.kind)
    return address.means(name, job.algorithm, job.params, job.chosen)


def grouped(stored: Sequence[Stored]) -> list[list[Stored]]:
    """Group results by case, ordered by seed; the newest result of a seed replaces the others."""
    groups: dict[tuple[object, ...], dict[int, Stored]] = {}
    for path, result in sorted(stored, key=lambda one: one[1].created):
        suite, job = result.suite, result.job
        key = (suite.name, suite.episodes_digest, suite.train_on, result.job.address)
        groups.setdefault((*key, job.budget, job.device), {})[job.seed] = path, result
    return [[seeds[seed] for seed in sorted(seeds)] for seeds in groups.values()]
