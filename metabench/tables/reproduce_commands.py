"""The commands that reproduce the results of a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from metabench.results.result_file import plugin_words
from metabench.results.schema import Result
from metabench.tables import flags
from metabench.tables.rows import StoredResult
from metabench.text import shell_line


def commands(rows: Sequence[Sequence[StoredResult]], suite: str) -> list[str]:
    """Return one command for each device, training data, number of threads and of seeds.

    Args:
        rows: the cells of each row, one for each seed.
        suite: the suite's name or address.
    """
    jobs = [[cell.result for cell in row] for row in rows]
    most: dict[_Where, int] = defaultdict(int)
    for result in (result for results in jobs for result in results):
        most[_where(result)] = max(most[_where(result)], result.job.seed + 1)
    groups: dict[tuple[_Where, int], list[Result]] = defaultdict(list)
    for results in jobs:
        first = results[0]
        # An algorithm that ignores its seed runs once, however many seeds are requested.
        alike = len(results) == 1 and first.job.seed == 0 and flags.ignores_seed(first)
        seeds = most[_where(first)] if alike else max(r.job.seed for r in results) + 1
        groups[_where(first), seeds].append(first)
    found = []
    for (where, seeds), group in groups.items():
        words = ["metabench", "run", "-s", suite]
        options = dict.fromkeys(option for result in group for option in _plugins(result))
        addresses = sorted({r.job.address for r in group})
        words += [word for option in options for word in plugin_words(option)]
        words += [word for name in addresses for word in ("-a", name)]
        words += ["--seeds", str(seeds), "--budget", group[0].job.budget]
        words += ["--device", where.device] if where.device != "cpu" else []
        words += ["--train-on", where.train_on] if where.train_on else []
        words += ["--threads", str(where.threads)] if where.threads else []
        found.append(shell_line(words))
    return found


class _Where(NamedTuple):
    """The options of a command that hold for all of its cells."""

    device: str
    train_on: str  # name or address of the suite whose base data was used; "": the suite itself
    threads: int  # 0: as many as there are cores, which is the default


def _where(result: Result) -> _Where:
    facts = result.environment
    # With other threads, sums are rounded otherwise, and training may follow the rounding.
    threads = facts.threads if facts is not None and facts.threads != facts.cores else 0
    suite = result.suite
    return _Where(result.job.device, suite.train_on_address or suite.train_on or "", threads)


def _plugins(result: Result) -> list[str]:
    """Return the options that loaded the plugins; older results know at most one file."""
    if result.environment is not None and result.environment.plugins is not None:
        return result.environment.plugins
    provider = result.job.provider
    return [shell_line(["-p", provider])] if provider.endswith(".py") else []
