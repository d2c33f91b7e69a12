"""A cell in this process, for notebooks, tests and debuggers; nothing is timed or stored."""

from __future__ import annotations

from collections.abc import Callable

from metabench.cell import commands
from metabench.cell.cell import Cell
from metabench.cell.scoring import score
from metabench.learner import Learner, TaskSpec
from metabench.plugins.registry import Plugins
from metabench.results.schema import Scores
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import Material
from metabench.worker.session import Session, task_spec


def score_inside(
    learner: Learner | Callable[[TaskSpec], Learner],
    cell: Cell,
    opened: OpenSuite,
    material: Material | None,
    plugins: Plugins,
    episodes: int | None = None,
) -> Scores:
    """Score a learner on a cell's suite; its exceptions are raised here.

    Args:
        learner: a learner, which is not trained; or a function that builds one, which is then
            meta-trained as the cell says.
        cell: suite, seed, budget and device.
        opened: the cell's suite.
        material: what the learner may train on.
        plugins: where backbones come from.
        episodes: how many to score; None: as many as the budget says.
    """
    count = min(episodes or cell.budget.scored(opened.suite.episodes), opened.suite.episodes)
    if isinstance(learner, Learner):
        return score(Session(learner), opened, count)
    task = task_spec(commands.task(cell, opened), plugins)
    session = Session.of(lambda: learner(task), cell.seed)
    session.train(None if material is None else commands.plan(cell, material), material)
    return score(session, opened, count)
