"""An algorithm under test, built and trained as the harness does it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor

from metabench.address import Value
from metabench.cell import commands
from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, Configured
from metabench.checks import synthetic_tasks
from metabench.checks.synthetic_tasks import Tasks
from metabench.errors import UsageError
from metabench.learner import KINDS, Algorithm, Kind, Learner, Support, TaskSpec, load
from metabench.plugins.registry import Plugins
from metabench.supervisor.lookup import find_algorithms
from metabench.worker.answering import as_batched, as_tensor
from metabench.worker.meta_training import meta_train, meta_trained
from metabench.worker.session import seed_everything, with_backbones

SHORT = 2  # updates, for checks that need only some training
_VALIDATED = 5  # episodes for each point of the curve: they only select among ten states
_AT_ONCE = 10  # tasks


class CheckFailed(Exception):
    """A learner breaks a rule.

    Attributes:
        advice: what its author can do.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


class NotChecked(Exception):
    """A check that does not apply, with the reason."""


class Noted(Exception):
    """An observation that is no failure."""


@dataclass
class Subject:
    """An algorithm under test."""

    configured: Configured  # the algorithm with its parameters
    kind: Kind  # kind of the tasks it is checked on
    plugins: Plugins  # where backbones come from
    origin: Path | None  # the plugin's file; None: unknown
    _trained: dict[Any, Learner] = field(default_factory=dict)
    _class: type[Learner] | None = None  # of the learners it has built

    @property
    def algorithm(self) -> Algorithm:
        """Its catalogue entry, with the defaults for this kind of task."""
        return self.configured.algorithm

    @property
    def params(self) -> Mapping[str, Value]:
        """Every parameter of `build`."""
        return self.configured.params

    @property
    def file(self) -> Path | None:
        """The file that builds its learner, otherwise the file of its plugin."""
        return _source(self._builder) or self.origin

    @property
    def place(self) -> str:
        """The class of its learner or the function that builds it, for its author to look at."""
        made = self._class or self._builder
        name = getattr(made, "__name__", f"the entry of {self.algorithm.name}")
        what = f"class {name}" if inspect.isclass(made) else name
        file = _source(made) or self.origin
        return f"{file}, {what}" if file else what

    @property
    def _builder(self) -> Callable[..., Any] | None:
        """The callable that builds it; None if that cannot be imported, which a check reports."""
        try:
            return load(self.algorithm.build)
        except (Exception, SystemExit):
            return None

    @property
    def is_floor(self) -> bool:
        """True if it is a baseline that need not learn."""
        return "floor" in self.algorithm.tags

    def build(self, way: int = 5, shot: int = 1, device: str = "cpu", seed: int = 0) -> Learner:
        """Build a new learner, without training it."""
        opened = synthetic_tasks.suite(self.kind, way, shot)
        cell = self._cell(opened.suite, device, seed)
        task = with_backbones(commands.task(cell, opened), self.plugins)
        seed_everything(task.seed)
        learner = load(self.algorithm.build)(task, **self.params)
        if not isinstance(learner, Learner):
            given = type(learner).__name__  # its repr may fill pages
            raise CheckFailed(
                f"build returned {given}", "make it return an instance of metabench.Learner"
            )
        self._class = type(learner)
        if not isinstance(getattr(learner, "task", None), TaskSpec):
            name = self._class.__name__
            raise CheckFailed(
                f"{name} has no task", f"call super().__init__(task) first, in {name}.__init__"
            )
        return learner

    def train(self, learner: Learner, updates: int | None = None) -> Learner:
        """Meta-train a learner in place, if it can be trained.

        Args:
            learner: as `build` returns it.
            updates: outer updates; None: the smoke budget.
        """
        if not meta_trained(learner):
            return learner
        opened = synthetic_tasks.suite(self.kind, learner.task.way, learner.task.shot)
        cell = self._cell(opened.suite, learner.task.device, learner.task.seed)
        found = opened.material
        assert found is not None
        plan = commands.plan(cell, found)
        if updates is None:
            plan = replace(plan, validation_episodes=_VALIDATED)
        else:
            plan = replace(plan, updates=updates, validation_episodes=2)
        meta_train(learner, found, plan, lambda fraction, values: None)
        return learner

    def trained(
        self, way: int = 5, shot: int = 1, updates: int | None = SHORT, seed: int = 0
    ) -> Learner:
        """Return a trained learner that checks share and must not train further."""
        key = (way, shot, updates, seed)
        if key not in self._trained:
            self._trained[key] = self.train(self.build(way, shot, seed=seed), updates)
        return self._trained[key]

    def tasks(self, count: int, way: int = 5, shot: int = 1, query: int = 5) -> Tasks:
        """Draw test tasks."""
        return synthetic_tasks.draw(self.kind, count, way, shot, query)

    def _cell(self, suite: Any, device: str, seed: int) -> Cell:
        return Cell(suite, self.configured, seed, Budget.parse("smoke"), device)


def find_subjects(address: str, plugins: Plugins) -> list[Subject]:
    """Return an algorithm under test, once for each kind of task that it supports.

    Args:
        address: address of one algorithm, such as "maml" or "maml[first_order=true]".
        plugins: where algorithms come from.

    Raises:
        UsageError: there is no such algorithm or parameter, or the address names several.
    """
    subjects = []
    for kind in KINDS:
        found = find_algorithms([address], plugins, kind)
        if len(found) > 1:
            raise UsageError(f"'{address}' names {len(found)} algorithms: name one")
        provided = plugins.algorithm(found[0].algorithm.name)
        if kind in provided.spec.tasks:
            subjects.append(Subject(found[0], kind, plugins, provided.origin))
    return subjects


def _source(found: Callable[..., Any] | None) -> Path | None:
    """Return the source file of a callable; None if it is unknown."""
    try:
        file = inspect.getsourcefile(found)  # type: ignore[arg-type]
    except (TypeError, OSError):  # of None or a partial; typed into a prompt
        return None
    return None if file is None else Path(file)


def ask(learner: Learner, support: Support, query_x: Tensor) -> Tensor:
    """Return outputs [T, Q, way] for copies of tasks.

    Generators are seeded first, as before every batch of a cell.

    Raises:
        UsageError: the outputs are not a tensor.
    """
    seed_everything(learner.task.seed)
    batched, device = as_batched(learner), learner.task.device
    copies = Support(*(tensor.clone().to(device) for tensor in support))
    outputs = as_tensor(batched.predict(batched.adapt(copies), query_x.clone().to(device)))
    return outputs.detach().cpu()


def answers(learner: Learner, tasks: Tasks) -> Tensor:
    """Return outputs [T, Q, way] for tasks, one after the other."""
    singles = [tasks.one(t) for t in range(len(tasks))]
    return torch.cat([ask(learner, one.support, one.query.x) for one in singles])


def batched_answers(learner: Learner, tasks: Tasks) -> Tensor:
    """Return outputs [T, Q, way] for tasks, several at once, as in a cell."""
    starts = range(0, len(tasks), _AT_ONCE)
    batches = [tasks.some(slice(start, start + _AT_ONCE)) for start in starts]
    return torch.cat([ask(learner, some.support, some.query.x) for some in batches])
