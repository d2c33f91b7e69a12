"""Drawing training episodes and gathering their images to float: `python -m benchmarks.sampling`.

5-way episodes with 15 queries a class from 1,200 classes of 20 uint8 images of 28x28. metabench
runs its outer loop around a learner that does nothing, at meta-batch 16. easyfsl runs a loader
around its sampler, over images that are floats already.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence

import torch

from benchmarks import peers, report
from benchmarks.contender import Job, race, timed
from benchmarks.images import QUERY, WAY, random_suite
from benchmarks.options import Options, parse
from benchmarks.rounds import OURS, Row
from metabench import Episodes, Learner, TaskSpec
from metabench.cell.messages import TrainingPlan
from metabench.results.schema import Training
from metabench.worker.answering import to_float
from metabench.worker.meta_training import meta_train

CLASSES = 1200
TASKS = 16
UNTIMED = 2  # updates whose memory the harness measures, which takes longer than an episode
EPISODES = 3200
TARGET = 15.0


class Nothing(Learner):
    """A learner that notes the times of the first timed update and of the last update."""

    first = last = updates = 0.0

    def meta_step(self, episodes: Episodes) -> float:
        """Take the episodes, and do nothing with them."""
        self.last = time.perf_counter()
        self.updates += 1
        if self.updates == UNTIMED:
            self.first = self.last
        return 0.0

    def adapt(self, support: object) -> None:
        raise NotImplementedError

    def predict(self, state: object, query_x: object) -> torch.Tensor:
        raise NotImplementedError


def plan(shot: int, updates: int) -> TrainingPlan:
    """Return a plan of so many updates, and nothing else."""
    return TrainingPlan(
        training=Training(way=WAY, shot=shot, query=QUERY, tasks_per_step=TASKS),
        why_not="",
        updates=updates,
        tasks=None,
        seconds=None,
        training_seed=0,
        images_per_task=WAY * (shot + QUERY),
        validation_episodes=0,
        validation_shape=None,
    )


def prepare(who: str, shot: int, episodes: int) -> Job:
    """Return the job of drawing and gathering so many episodes."""
    opened = random_suite("base", CLASSES, shot, episodes)
    if who == OURS:
        material, order = opened.material, plan(shot, UNTIMED + episodes // TASKS)
        assert material is not None
        spec = TaskSpec(input_shape=(1, 28, 28), way=WAY, shot=shot)

        def job() -> float:
            learner = Nothing(spec)
            meta_train(learner, material, order, lambda fraction, values: None)
            return learner.last - learner.first

        return job
    from benchmarks.peers import easyfsl

    floats = to_float(opened.dataset.images, "cpu")
    loader = easyfsl.loader(floats, opened.dataset.labels.tolist(), WAY, shot, QUERY, episodes)
    return timed(lambda: [None for _ in loader])


def rows(
    options: Options, shots: Sequence[int] = (1, 5), episodes: int = EPISODES
) -> Iterator[Row]:
    """Measure every case.

    Raises:
        Refused: another device was requested.
    """
    options.processor_only("drawing episodes")
    against = ["easyfsl"] if peers.present("easyfsl", options.peers) else []
    for shot in shots:
        what = f"drawing {episodes} training episodes to float, 5-way {shot}-shot"
        options.say(what)
        setting = {"shot": shot, "episodes": episodes}
        yield Row(what, "s", *race("benchmarks.sampling", setting, against, options), TARGET)


def add(parser: ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--episodes", type=int, default=EPISODES, help=f"a multiple of {TASKS}")


def main() -> int:
    """Measure and print the table."""
    return report.main(rows, parse(__doc__, add))


if __name__ == "__main__":
    sys.exit(main())
