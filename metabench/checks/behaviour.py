"""Checks that answers depend on the support set and on nothing else."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import torch
from torch import Tensor

from metabench.checks import synthetic_tasks
from metabench.checks.checked_algorithm import (
    SHORT,
    CheckFailed,
    NotChecked,
    Noted,
    Subject,
    answers,
    ask,
    batched_answers,
)
from metabench.checks.equal_outputs import difference
from metabench.checks.synthetic_tasks import Tasks
from metabench.learner import BatchedLearner, Support

_EPISODES = 100  # for comparisons of accuracies
_AT_ONCE = 32  # tasks
_STANDARD_ERRORS = 3
_LEARNT = ((5, 1), (5, 5), (20, 1))  # way and shot
_LOOK_AT = "check signs (larger logits are likelier), step sizes, and that training has an effect"


def deterministic(subject: Subject) -> None:
    """Check that two learners with the same seed and training give the same answers."""
    tasks = subject.tasks(2)
    seeds = (0, 0, 1) if subject.algorithm.deterministic else (0, 0)
    found = []
    for seed in seeds:
        learner = subject.train(subject.build(seed=seed), updates=SHORT)
        found.append(ask(learner, tasks.support, tasks.query.x))
    rounded = _only_rounded(
        found[0],
        found[1],
        "two learners with the same seed answer differently",
        "draw every random number from self.task.generator()",
    )
    if len(found) > 2 and difference(found[0], found[2]):
        raise CheckFailed(
            "another seed gives other answers, but the entry declares deterministic=True",
            "remove deterministic=True; metabench then runs several seeds",
        )
    _note(rounded)


def repeatable(subject: Subject) -> None:
    """Check that a task gets the same answers after other tasks, also after a broken one."""
    tasks = subject.tasks(4)
    # Two new learners, because what the first task leaves behind may stay forever.
    one, other = (subject.train(subject.build(), updates=SHORT) for _ in range(2))
    first = answers(one, tasks)
    backwards = torch.arange(len(tasks) - 1, -1, -1)
    turned = answers(other, tasks.some(backwards))[backwards]
    rounded = _only_rounded(first, turned, "answers depend on the order of tasks", _NO_STATE)
    rounded += _only_rounded(
        first,
        answers(one, tasks),
        "a task is answered differently when it is repeated",
        _NO_STATE,
    )
    broken = Support(tasks.support.x * float("nan"), tasks.support.y)
    with contextlib.suppress(Exception):  # it may refuse
        ask(one, broken, tasks.query.x)
    rounded += _only_rounded(
        first, answers(one, tasks), "answers differ after a task with NaN in it", _NO_STATE
    )
    _note(rounded)


def _only_rounded(one: Tensor, other: Tensor, what: str, advice: str) -> list[str]:
    """Compare two answers that should be equal; return what to note, [] if they are equal.

    Some operators of torch round differently from call to call, which is no failure.

    Raises:
        CheckFailed: they differ by more than rounding.
    """
    if torch.equal(one, other):
        return []
    moved = difference(one, other)
    if moved:
        raise CheckFailed(f"{what}: {moved}", advice)
    return [what]


def _note(rounded: list[str]) -> None:
    """Note the first of these, after all comparisons, because a later one may fail."""
    if rounded:
        raise Noted(f"{rounded[0]}, by rounding only")


_NO_STATE = "do not write to self in adapt and predict; return the state of a task from adapt"


def query_order(subject: Subject) -> None:
    """Check that the order of queries changes only the order of answers."""
    learner, tasks = subject.trained(), subject.tasks(4)
    order = torch.randperm(tasks.query.x.shape[1], generator=torch.Generator().manual_seed(1))
    straight = answers(learner, tasks)
    turned = answers(learner, replace(tasks, query=Support(tasks.query.x[:, order], tasks.query.y)))
    moved = difference(straight[:, order], turned)
    if moved:
        raise CheckFailed(
            f"answers depend on the order of queries: {moved}",
            "answer each query independently; test queries are in random order",
        )


def one_query(subject: Subject) -> None:
    """Check that a query gets the same answer alone, unless the entry declares transduction."""
    tasks = subject.tasks(3)
    # Two new learners, because a learner may remember its answers.
    one, other = (subject.train(subject.build(), updates=SHORT) for _ in range(2))
    together = answers(one, tasks)
    alone = torch.cat(
        [
            answers(other, replace(tasks, query=Support(tasks.query.x[:, [q]], tasks.query.y)))
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
            "use running statistics or those of the support set, as in conv4[bn=support|running], "
            'or declare it: Algorithm(tags={"transductive"})',
        )


def one_task(subject: Subject) -> None:
    """Check that many tasks at once get the same answers as one at a time."""
    learner, tasks = subject.trained(), subject.tasks(_AT_ONCE)
    if not isinstance(learner, BatchedLearner):
        raise NotChecked("it answers one task at a time")
    moved = difference(answers(learner, tasks), ask(learner, tasks.support, tasks.query.x))
    if moved:
        raise CheckFailed(
            f"answers to a task depend on the others in its batch: {moved}",
            "keep tasks separate in every mean, norm and matrix product",
        )


def label_order(subject: Subject) -> None:
    """Check that labels in the order of their classes do not raise accuracy."""
    if subject.kind == "regression":
        raise NotChecked("values have no labels")
    tasks, ordered = subject.tasks(_EPISODES), synthetic_tasks.draw_in_order(_EPISODES)
    for seed in range(3):  # what one learner starts from may favour an order by chance
        learner = subject.trained(updates=None, seed=seed)
        in_order = synthetic_tasks.accuracy(batched_answers(learner, ordered), ordered)
        gain = in_order - synthetic_tasks.accuracy(batched_answers(learner, tasks), tasks)
        if not _positive(gain):
            return
    raise CheckFailed(
        "with labels and queries in the order of classes, its accuracy is "
        f"{100 * float(gain.mean()):.1f} points higher than with random labels",
        "use neither the number of a label nor the position of a query to find its class",
    )


def learns(subject: Subject) -> None:
    """Check that it beats guessing after the smallest budget, also with more classes and shots."""
    if subject.is_floor:
        raise NotChecked("it is a floor, which need not learn")
    if subject.kind == "regression":
        _check_errors(subject)
        return
    right: dict[tuple[int, int], Tensor] = {}
    for way, shot in _LEARNT:
        learner = subject.trained(way, shot, updates=None)
        tasks = subject.tasks(_EPISODES, way, shot)
        right[way, shot] = synthetic_tasks.accuracy(batched_answers(learner, tasks), tasks)
        if not _positive(right[way, shot] - 1 / way):
            raise CheckFailed(
                f"{way}-way {shot}-shot: it has learned nothing (accuracy "
                f"{float(right[way, shot].mean()):.1%}, guessing {1 / way:.0%})",
                _LOOK_AT,
            )
    one, five = right[5, 1], right[5, 5]
    if _positive(one - five):
        raise Noted(
            f"five shots help less than one: accuracy {float(five.mean()):.1%}, one shot "
            f"{float(one.mean()):.1%}"
        )


def _check_errors(subject: Subject) -> None:
    learner, tasks = subject.trained(updates=None), subject.tasks(_EPISODES)
    values = batched_answers(learner, tasks)
    error = synthetic_tasks.squared_error(values, tasks)
    of_zero = synthetic_tasks.squared_error(torch.zeros_like(values), tasks)
    if not _positive(of_zero - error):
        raise CheckFailed(
            f"it has learned nothing (squared error {float(error.mean()):.3g}, always answering 0 "
            f"{float(of_zero.mean()):.3g})",
            _LOOK_AT,
        )


def _positive(values: Tensor) -> bool:
    """Return whether values [T], one per task, have a mean significantly above 0."""
    return float(values.mean()) > _STANDARD_ERRORS * float(values.std()) / math.sqrt(len(values))


def support_matters(subject: Subject) -> None:
    """Check that it does not beat guessing if the support labels are shuffled."""
    learner, tasks = subject.trained(updates=None), subject.tasks(_EPISODES)
    if subject.kind == "regression":
        _check_other_support(subject, batched_answers(learner, tasks), tasks)
        return
    generator = torch.Generator().manual_seed(2)
    labels = torch.stack([y[torch.randperm(len(y), generator=generator)] for y in tasks.support.y])
    shuffled = replace(tasks, support=synthetic_tasks.by_label(tasks.support.x, labels))
    above = synthetic_tasks.accuracy(batched_answers(learner, shuffled), tasks) - 1 / 5
    if _positive(above):
        raise CheckFailed(
            "with shuffled support labels, it still has an accuracy of "
            f"{float(above.mean()) + 0.2:.1%} (guessing 20%)",
            "let adapt use the labels it is given, and no other information about classes",
        )


def _check_other_support(subject: Subject, own: Tensor, tasks: Tasks) -> None:
    """Check that the support set of another task makes errors larger."""
    if subject.is_floor:
        raise NotChecked("it is a floor, which need not learn")
    learner = subject.trained(updates=None)
    others = Support(tasks.support.x.roll(1, dims=0), tasks.support.y.roll(1, dims=0))
    misled = batched_answers(learner, replace(tasks, support=others))
    loss = synthetic_tasks.squared_error(misled, tasks) - synthetic_tasks.squared_error(own, tasks)
    if not _positive(loss):
        raise CheckFailed(
            "with the support set of another task, its errors are no larger",
            "let adapt learn from the support set it is given",
        )


def relabelling(subject: Subject) -> None:
    """Note whether renumbering the classes changes the answers."""
    if subject.kind == "regression":
        raise NotChecked("values have no labels")
    learner, tasks = subject.trained(), subject.tasks(4)
    renamed = torch.tensor([3, 1, 4, 0, 2])
    straight = answers(learner, tasks)
    support = synthetic_tasks.by_label(tasks.support.x, renamed[tasks.support.y])
    other = answers(learner, replace(tasks, support=support))
    moved = difference(straight, other[..., renamed])
    if moved:
        raise Noted(f"classes are not treated alike, which is allowed: {moved}")
