"""Meta-training with MAML and Meta-SGD: `python -m benchmarks.maml [--meta-sgd] [--first-order]`.

Conv-4 with pooling on 28x28 images, 5-way, 15 queries a class, meta-batch 16: an outer update
with Adam's step, at 1 and 5 shots and 1 and 5 inner steps.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import limits, report
from benchmarks.contender import Job, race, timed
from benchmarks.flops import meta_gradient
from benchmarks.gate import build, check
from benchmarks.options import Options, parse
from benchmarks.peers import PLAIN, present
from benchmarks.rounds import Limit, Row
from benchmarks.setting import Setting

PEERS = (PLAIN, "higher", "learn2learn")
TARGETS = {False: 2.0, True: 2.5}  # to second and to first order
TARGET_ON_GPU = 10.0
TIMES_FLOOR = 3.0


def prepare(who: str, **setting: Any) -> Job:
    """Return the job of a contender's outer update."""
    case = Setting(**setting)
    contender, episodes = build(who, case), case.episodes()
    return timed(lambda: contender.meta_step(episodes), case.device)


def rows(
    options: Options,
    meta_sgd: bool = False,
    first_order: bool = False,
    shots: Sequence[int] = (1, 5),
    steps: Sequence[int] = (1, 5),
    tasks: int = 16,
) -> Iterator[Row]:
    """Measure every case of one algorithm and order.

    Raises:
        Refused: a contender's meta-gradient differs.
    """
    against = [name for name in PEERS if present(name, options.peers)]
    name = f"{'Meta-SGD' if meta_sgd else 'MAML'}, {'first' if first_order else 'second'} order"
    others = {"meta_sgd": meta_sgd, "first_order": first_order, "device": options.device}
    for case in cases(shots, steps, tasks, **others):
        check("meta-gradient", case, against, options)
        options.say(f"{name}, {case}")
        ours, tuned, untuned = race("benchmarks.maml", case.as_json(), against, options)
        on_cpu = options.device == "cpu"
        floor = case.tasks * meta_gradient(case) / limits.probe(options).convolution
        yield Row(
            f"{name}, {case}",
            "s",
            ours,
            tuned,
            untuned,
            TARGETS[first_order] if on_cpu else TARGET_ON_GPU,
            Limit("the floor", [floor] * len(ours), TIMES_FLOOR if on_cpu else None),
        )


def cases(
    shots: Sequence[int], steps: Sequence[int], tasks: int, **others: Any
) -> Iterator[Setting]:
    """Yield the settings to measure."""
    for shot in shots:
        for count in steps:
            yield Setting(shot=shot, steps=count, tasks=tasks, **others)


def add(parser: ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--meta-sgd", action="store_true", help="learn step sizes, too")
    parser.add_argument("--first-order", action="store_true", help="no second derivatives")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--tasks", type=int, default=16, help="of an outer update")


def main() -> int:
    """Measure and print the table."""
    return report.main(rows, parse(__doc__, add))


if __name__ == "__main__":
    sys.exit(main())
