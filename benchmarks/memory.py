"""Peak memory of meta-training above that of the imports: `python -m benchmarks.memory`.

MAML to second order at 5 shots and 5 inner steps, meta-batch 16: the largest case of
`benchmarks.maml`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator

from benchmarks import report
from benchmarks.contender import race
from benchmarks.gate import check
from benchmarks.maml import PEERS
from benchmarks.options import Options, parse
from benchmarks.peers import PLAIN, present
from benchmarks.rounds import Limit, Row
from benchmarks.setting import Setting


def rows(options: Options, shot: int = 5, steps: int = 5, tasks: int = 16) -> Iterator[Row]:
    """Measure the case.

    Raises:
        Refused: a contender's meta-gradient differs, memory cannot be measured, or another
            device was requested.
    """
    options.processor_only("peak memory")
    case = Setting(shot=shot, steps=steps, tasks=tasks)
    against = [name for name in PEERS if present(name, options.peers)]
    check("meta-gradient", case, against, options)
    what = f"peak memory, MAML, second order, {case}"
    options.say(what)
    ours, tuned, untuned = race("benchmarks.maml", case.as_json(), against, options, "memory")
    yield Row(what, "B", ours, tuned, untuned, limit=Limit(f"the {PLAIN}'s", tuned[PLAIN]))


def add(parser: ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--shot", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=16)


def main() -> int:
    """Measure and print the table."""
    return report.main(rows, parse(__doc__, add))


if __name__ == "__main__":
    sys.exit(main())
