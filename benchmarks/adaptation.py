"""MAML at test: adapting and predicting, `python -m benchmarks.adaptation`.

Conv-4 with pooling on 28x28 images, 5-way, 15 queries a class, 32 tasks, at 1 and 5 shots and
5 and 10 inner steps.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import limits, report
from benchmarks.contender import Job, race, timed
from benchmarks.flops import adaptation
from benchmarks.gate import build, check
from benchmarks.maml import PEERS, cases
from benchmarks.options import Options, parse
from benchmarks.peers import present
from benchmarks.rounds import Limit, Row
from benchmarks.setting import Setting

TARGETS = {1: 3.0, 5: 2.0}  # by shot
TASKS = 32


def prepare(who: str, **setting: Any) -> Job:
    """Return the job of adapting to all tasks and predicting their queries."""
    case = Setting(**setting)
    contender, episodes = build(who, case), case.episodes()
    return timed(lambda: contender.answer(episodes), case.device)


def rows(
    options: Options,
    shots: Sequence[int] = (1, 5),
    steps: Sequence[int] = (5, 10),
    tasks: int = TASKS,
) -> Iterator[Row]:
    """Measure every case.

    Raises:
        Refused: a contender's predictions differ.
    """
    against = [name for name in PEERS if present(name, options.peers)]
    for case in cases(shots, steps, tasks, device=options.device):
        check("logits", case, against, options)
        what = f"MAML, adapting and predicting {tasks} tasks, {case}"
        options.say(what)
        ours, tuned, untuned = race("benchmarks.adaptation", case.as_json(), against, options)
        floor = tasks * adaptation(case) / limits.probe(options).convolution
        limit = Limit("the floor", [floor] * len(ours), None)  # only shown
        yield Row(what, "s", ours, tuned, untuned, TARGETS.get(case.shot), limit)


def add(parser: ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--tasks", type=int, default=TASKS)


def main() -> int:
    """Measure and print the table."""
    return report.main(rows, parse(__doc__, add))


if __name__ == "__main__":
    sys.exit(main())
