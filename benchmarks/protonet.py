"""Prototypical networks at test: `python -m benchmarks.protonet`.

600 episodes, 5-way, 15 queries a class, over a pool of 423 classes of 20 images, as many as
Omniglot's test alphabets have. Batch normalisation uses running statistics, so that an image has
the same features in every episode. metabench therefore embeds each image once; easyfsl embeds it
as often as it is drawn.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from benchmarks import peers, report
from benchmarks.contender import Job, race, timed
from benchmarks.images import random_suite
from benchmarks.options import Options, Refused, parse
from benchmarks.peers.network import conv4
from benchmarks.rounds import OURS, Row
from benchmarks.setting import Setting
from metabench.cell.commands import batch, tasks_per_batch
from metabench.suites.open_suite import OpenSuite
from metabench.worker.answering import to_float
from metabench.worker.session import Session
from metabench_plugins.protonet import ProtoNet

CLASSES = 423
EPISODES = 600
CHECKED = 40  # episodes whose predictions are compared, in float64
SEEN = 256  # images that running statistics come from
TARGET = 7.0


def learner(setting: Setting, opened: OpenSuite) -> ProtoNet:
    """Build our learner, with running statistics other than those of a new network."""
    found = ProtoNet(setting.task(), backbone=f"conv4[channels={setting.channels}]")
    with torch.no_grad():
        found.backbone.train()(to_float(opened.dataset.images[:SEEN], setting.device))
    found.backbone.eval().to(setting.dtype)
    if setting.double:  # the harness gives float32
        found.backbone.register_forward_pre_hook(lambda _, args: (args[0].double(),))
    return found


def answer(ours: ProtoNet, opened: OpenSuite) -> Tensor:
    """Return the classes that our learner predicts, [T, Q], answering as in a cell."""
    session, tasks, episodes = Session(ours), tasks_per_batch(opened), opened.suite.episodes
    found = []
    for first in range(0, episodes, tasks):
        part = batch(opened, slice(first, min(first + tasks, episodes)))
        outputs = session.answer(replace(part, keep_features=True))
        found.append(outputs.logits.numpy().argmax(-1))
    return torch.from_numpy(np.concatenate(found))


def as_tasks(setting: Setting, opened: OpenSuite) -> list[tuple[Any, ...]]:
    """Return the episodes as easyfsl's loaders give them, with their images already gathered."""
    images = to_float(opened.dataset.images, "cpu").to(setting.dtype)
    drawn = opened.episodes
    rows = zip(
        drawn.support, drawn.support_y, drawn.query, drawn.query_y, drawn.classes, strict=True
    )
    return [
        (images[s], torch.from_numpy(s_y), images[q], torch.from_numpy(q_y), classes.tolist())
        for s, s_y, q, q_y, classes in rows
    ]


def prepare(who: str, **setting: Any) -> Job:
    """Return the job of answering all episodes, as many as the setting has tasks."""
    case = Setting(**setting)
    opened = random_suite("novel", CLASSES, case.shot, case.tasks, case.side)
    ours = learner(case, opened)
    if who == OURS:
        assert len(opened.episodes) == case.tasks  # they are drawn now
        return timed(lambda: answer(ours, opened), case.device)
    from benchmarks.peers import easyfsl

    network = conv4(case, ours.backbone, running=True, head=False).eval()
    tasks = as_tasks(case, opened)
    return timed(lambda: easyfsl.accuracy(network, tasks), case.device)


def check(setting: Setting, options: Options, classes: int = CLASSES) -> None:
    """Refuse to measure unless predictions are the same.

    Raises:
        Refused: predictions differ.
    """
    peers.admit(options.peers)
    from benchmarks.peers import easyfsl

    options.say(f"{setting}: predictions in float64")
    opened = random_suite("novel", classes, setting.shot, setting.tasks, setting.side)
    ours = learner(setting, opened)
    network = conv4(setting, ours.backbone, running=True, head=False).eval()
    theirs = easyfsl.predictions(network, as_tasks(setting, opened))
    agree(str(setting), answer(ours, opened), theirs)


def agree(what: str, ours: Tensor, theirs: Tensor) -> None:
    """Raise `Refused` unless predictions [T, Q] are the same."""
    other = int((ours != theirs).sum())
    if other:
        raise Refused(f"predictions at {what}: {other} of {ours.numel()} differ from easyfsl's")


def rows(
    options: Options, shots: Sequence[int] = (1, 5), episodes: int = EPISODES
) -> Iterator[Row]:
    """Measure every case.

    Raises:
        Refused: predictions differ.
    """
    against = ["easyfsl"] if peers.present("easyfsl", options.peers) else []
    for shot in shots:
        if against:
            checked = min(CHECKED, episodes)
            check(Setting(shot=shot, tasks=checked, double=True, device=options.device), options)
        what = f"ProtoNet, {episodes} test episodes, 5-way {shot}-shot"
        options.say(what)
        case = Setting(shot=shot, tasks=episodes, device=options.device)
        raced = race("benchmarks.protonet", case.as_json(), against, options)
        yield Row(what, "s", *raced, TARGET)


def add(parser: ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--episodes", type=int, default=EPISODES)


def main() -> int:
    """Measure and print the table."""
    return report.main(rows, parse(__doc__, add))


if __name__ == "__main__":
    sys.exit(main())
