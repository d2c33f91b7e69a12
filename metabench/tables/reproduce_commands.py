"""The commands that reproduce the results of a table."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence

from metabench import address
from metabench.results.schema import Result
from metabench.tables import flags
from metabench.tables.rows import StoredResult


def commands(rows: Sequence[Sequence[StoredResult]], suite: str) -> list[str]:
    """Return one command for each device, training data and number of seeds.

    Args:
        rows: the cells of each row, one for each seed.
        suite: the suite's name or address.
    """
    jobs = [[cell.result for cell in row] for row in rows]
    most: dict[tuple[str, str], int] = defaultdict(int)
    for result in (result for results in jobs for result in results):
        most[_where(result)] = max(most[_where(result)], result.job.seed + 1)
    groups: dict[tuple[str, str, int], list[Result]] = defaultdict(list)
    for results in jobs:
        first = results[0]
        # An algorithm that ignores its seed runs once, however many seeds are requested.
        alike = len(results) == 1 and first.job.seed == 0 and flags.ignores_seed(first)
        seeds = most[_where(first)] if alike else max(r.job.seed for r in results) + 1
        groups[*_where(first), seeds].append(first)
    found = []
    for (device, train_on, seeds), group in groups.items():
        words = ["metabench", "run", "-s", suite]
        options = dict.fromkeys(option for result in group for option in _plugins(result))
        addresses = sorted({address.write(r.job.algorithm, r.job.chosen) for r in group})
        words += [word for option in options for word in shlex.split(option)]
        words += [word for name in addresses for word in ("-a", name)]
        words += ["--seeds", str(seeds), "--budget", group[0].job.budget]
        words += ["--device", device] if device != "cpu" else []
        words += ["--train-on", train_on] if train_on else []
        found.append(shlex.join(words))
    return found


def _where(result: Result) -> tuple[str, str]:
    """Return the device and the suite whose base data was used; "" for the suite itself."""
    return result.job.device, result.suite.train_on or ""


def _plugins(result: Result) -> list[str]:
    """Return the options that loaded the plugins; older results know at most one file."""
    if result.environment is not None and result.environment.plugins is not None:
        return result.environment.plugins
    provider = result.job.provider
    return [f"-p {shlex.quote(provider)}"] if provider.endswith(".py") else []
