"""A cell in this process: for notebooks, tests and the debugger. Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable

from metabench.harness.cell import Cell
from metabench.harness.messages import Batch, Outputs, Task
from metabench.harness.scoring import Scored, score
from metabench.harness.session import Session, answer_batch, task_spec
from metabench.harness.supervisor import make_plan
from metabench.learner import Learner, TaskSpec
from metabench.plugins import Plugins
from metabench.suites.material import Material
from metabench.suites.opened import OpenSuite


def score_inside(
    learner: Learner | Callable[[TaskSpec], Learner],
    cell: Cell,
    opened: OpenSuite,
    material: Material | None,
    plugins: Plugins,
    episodes: int | None = None,
) -> Scored:
    """Score a learner on a cell's suite; what it raises is raised here.

    Args:
        learner: as it is, or how to build it: then it is meta-trained as the cell says.
        cell: suite, seed, budget and device.
        opened: the cell's suite.
        material: what it may train on.
        plugins: where backbones come from.
        episodes: how many to score; None: as the budget says.
    """
    count = min(episodes or cell.budget.scored(opened.suite.episodes), opened.suite.episodes)
    if isinstance(learner, Learner):
        return score(_Ready(learner), opened, count)
    task = task_spec(
        Task(
            input_shape=opened.dataset.shape,
            way=opened.suite.way,
            shot=opened.suite.shot,
            kind=cell.kind,
            device=cell.device,
            seed=cell.seed,
        ),
        plugins,
    )
    session = Session(
        build=lambda: learner(task),
        seed=cell.seed,
        plan=None if material is None else make_plan(cell, material),
        material=material,
        report=lambda fraction, values: None,
    )
    return score(session, opened, count)


class _Ready:
    """A learner that needs no building."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def answer(self, batch: Batch) -> Outputs:
        return answer_batch(self.learner, batch)
