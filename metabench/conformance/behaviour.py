"""Checks of what answers depend on: the support set, and nothing else."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import torch
from torch import Tensor

from metabench.conformance import material
from metabench.conformance.material import Tasks
from metabench.conformance.outputs import difference
from metabench.conformance.subject import (
    CheckFailed,
    NotChecked,
    Noted,
    Subject,
    answers,
    ask,
)
from metabench.learner import BatchedLearner, Support

_EPISODES = 100  # for comparisons of accuracies
_STANDARD_ERRORS = 3


def deterministic(subject: Subject) -> None:
    """Two learners of one seed, trained alike, answer alike."""
    tasks = subject.tasks(2)
    one, other = (subject.train(subject.build(), updates=2) for _ in range(2))
    first, second = (ask(learner, tasks.support, tasks.query.x) for learner in (one, other))
    if not torch.equal(first, second):
        raise CheckFailed(
            "two learners of the same seed answer differently",
            "draw every random number from self.task.generator()",
        )


def repeatable(subject: Subject) -> None:
    """A task is answered the same after others, also after one that is broken."""
    learner, tasks = subject.trained(), subject.tasks(4)
    first = answers(learner, tasks)
    if not torch.equal(first, answers(learner, tasks)):
        raise CheckFailed("the same task is answered differently when it comes again", _NO_STATE)
    backwards = torch.arange(len(tasks) - 1, -1, -1)
    turned = Tasks(*(Support(x[backwards], y[backwards]) for x, y in (tasks.support, tasks.query)))
    if not torch.equal(first, answers(learner, turned)[backwards]):
        raise CheckFailed("answers depend on the order of tasks", _NO_STATE)
    broken = Support(tasks.support.x * float("nan"), tasks.support.y)
    with contextlib.suppress(Exception):  # it may well refuse
        ask(learner, broken, tasks.query.x)
    if not torch.equal(first, answers(learner, tasks)):
        raise CheckFailed("answers differ after a task with NaN in it", _NO_STATE)


_NO_STATE = "adapt and predict must not write to self: return what a task needs as its state"


def query_order(subject: Subject) -> None:
    """The order of queries changes nothing but the order of answers."""
    learner, tasks = subject.trained(), subject.tasks(4)
    order = torch.randperm(tasks.query.x.shape[1], generator=torch.Generator().manual_seed(1))
    straight = answers(learner, tasks)
    turned = answers(learner, replace(tasks, query=Support(tasks.query.x[:, order], tasks.query.y)))
    moved = difference(straight[:, order], turned)
    if moved:
        raise CheckFailed(
            f"answers depend on the order of queries: {moved}",
            "answer each query by itself; test queries come in random order",
        )


def one_query(subject: Subject) -> None:
    """A query is answered the same alone as beside others, unless it is declared transductive."""
    learner, tasks = subject.trained(), subject.tasks(3)
    together = answers(learner, tasks)
    alone = torch.cat(
        [
            answers(learner, replace(tasks, query=Support(tasks.query.x[:, [q]], tasks.query.y)))
            for q in range(tasks.query.x.shape[1])
        ],
        dim=1,
    )
    moved = difference(together, alone)
    if moved and subject.configured.transductive:
        raise Noted("transductive, as declared")
    if moved:
        raise CheckFailed(
            f"the answer to a query depends on the others (transductive): {moved}",
            "use statistics of the support set or running ones, as conv4[bn=support|running] does, "
            'or declare it: Algorithm(tags={"transductive"})',
        )


def one_task(subject: Subject) -> None:
    """Many tasks at once are answered as one at a time."""
    learner, tasks = subject.trained(), subject.tasks(5)
    if not isinstance(learner, BatchedLearner):
        raise NotChecked("it takes one task at a time")
    moved = difference(answers(learner, tasks), ask(learner, tasks.support, tasks.query.x))
    if moved:
        raise CheckFailed(
            f"answers to a task depend on the others in its batch: {moved}",
            "keep the task dimension apart in every mean, norm and matrix product",
        )


def label_order(subject: Subject) -> None:
    """Classes in order help no more than classes in random order."""
    if subject.kind == "regression":
        raise NotChecked("values have no labels")
    learner, tasks = subject.trained(updates=None), _out_of_order(subject.tasks(_EPISODES))
    ordered = _in_order(tasks)
    gain = material.accuracy(answers(learner, ordered), ordered) - material.accuracy(
        answers(learner, tasks), tasks
    )
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
    if mean > _STANDARD_ERRORS * error:
        raise CheckFailed(
            f"with classes in order it has {100 * mean:.1f} points more than with random labels",
            "let neither the place of an example nor the number of its label tell its class",
        )


def _in_order(tasks: Tasks) -> Tasks:
    """The same tasks with support and queries sorted by label."""

    def turn(side: Support) -> Support:
        order = side.y.argsort(dim=1, stable=True)
        rows = torch.arange(len(side.y))[:, None]
        return Support(side.x[rows, order], side.y[rows, order])

    return Tasks(turn(tasks.support), turn(tasks.query))


def _out_of_order(tasks: Tasks) -> Tasks:
    """The same tasks with the support set in random order; that of queries is already."""
    x, y = tasks.support
    generator = torch.Generator().manual_seed(3)
    order = torch.rand(y.shape, generator=generator).argsort(dim=1)
    rows = torch.arange(len(y))[:, None]
    return replace(tasks, support=Support(x[rows, order], y[rows, order]))


def learns(subject: Subject) -> None:
    """It does better than guessing after the smallest budget."""
    if subject.is_floor:
        raise NotChecked("it is a floor")
    learner, tasks = subject.trained(updates=None), subject.tasks(_EPISODES)
    outputs = answers(learner, tasks)
    if subject.kind == "classification":
        gain = material.accuracy(outputs, tasks) - 1 / 5
        what = f"accuracy {float(gain.mean()) + 0.2:.1%}, guessing has 20 %"
    else:
        error = material.squared_error(outputs, tasks)
        gain = material.squared_error(torch.zeros_like(outputs), tasks) - error
        what = f"squared error {float(error.mean()):.3g}, always answering 0 has "
        what += f"{float((gain + error).mean()):.3g}"
    if float(gain.mean()) <= _STANDARD_ERRORS * float(gain.std()) / math.sqrt(len(gain)):
        raise CheckFailed(
            f"it has learned nothing: {what}",
            "look at signs (logits: larger is likelier), step sizes, and that training trains",
        )


def support_matters(subject: Subject) -> None:
    """With the labels of the support set shuffled it does no better than guessing."""
    if subject.kind == "regression":
        raise NotChecked("values have no labels")
    learner, tasks = subject.trained(updates=None), subject.tasks(_EPISODES)
    generator = torch.Generator().manual_seed(2)
    labels = torch.stack([y[torch.randperm(len(y), generator=generator)] for y in tasks.support.y])
    outputs = answers(learner, replace(tasks, support=Support(tasks.support.x, labels)))
    above = material.accuracy(outputs, tasks) - 1 / 5
    if float(above.mean()) > _STANDARD_ERRORS * float(above.std()) / math.sqrt(len(above)):
        raise CheckFailed(
            f"with shuffled support labels it still has {float(above.mean()) + 0.2:.1%}, guessing "
            "20 %: it knows classes by other means",
            "let adapt use the labels it is given, and nothing that tells classes besides",
        )


def relabelling(subject: Subject) -> None:
    """Whether other numbers for the classes give the same answers under these numbers."""
    if subject.kind == "regression":
        raise NotChecked("values have no labels")
    learner, tasks = subject.trained(), subject.tasks(4)
    renamed = torch.tensor([3, 1, 4, 0, 2])
    straight = answers(learner, tasks)
    other = answers(learner, replace(tasks, support=_renamed(tasks.support, renamed)))
    moved = difference(straight, other[..., renamed])
    if moved:
        raise Noted(f"classes are not treated alike, which is allowed: {moved}")


def _renamed(support: Support, renamed: Tensor) -> Support:
    return Support(support.x, renamed[support.y])
