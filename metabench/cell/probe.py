"""Dependence of a learner's answers on their context, measured on episodes of its own suite.

The answer to a query must not change because of other queries in the task (the learner would be
transductive), because of tasks computed at the same time, or because of earlier questions. Papers
were wrong for each of these reasons: batch statistics at test are worth 0.5 to 2.3 points on
Omniglot (Nichol et al. 2018, arXiv:1803.02999, table 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metabench.cell.commands import batch, tasks_per_batch
from metabench.cell.messages import Array, Batch
from metabench.cell.output_difference import deviations, flipped
from metabench.cell.scoring import Answering
from metabench.errors import reason
from metabench.results.schema import Evidence, Properties
from metabench.suites.open_suite import OpenSuite

Logits = npt.NDArray[np.float32]

_OF_OTHER_QUERIES = ("alone", "permuted", "foreign")
_MIN_RATIO = 10  # times the difference between two answers to the same question
_ALONE = 5  # queries of an episode that are answered one by one

# Sums in another order differ in their last digits. Statistics of other queries differ by far
# more than this, relative to the spread of an episode's outputs.
_TOLERANCE = 1e-3
_FLIPS = 0.02  # share of queries whose class changes


def out_of_memory(error: Exception) -> str:
    """Return why an answer failed, if memory ran out; otherwise ""."""
    return reason(error) if isinstance(error, MemoryError) else ""


def probe(
    learner: Answering,
    opened: OpenSuite,
    episodes: int,
    scored: int,
    outside: Callable[[Exception], str] = out_of_memory,
) -> Properties:
    """Have the first episodes answered again among different queries and tasks, and compare.

    Args:
        learner: a trained learner; it answers about 10 times as many tasks as there are episodes.
        opened: its suite.
        episodes: number of episodes, at least 2.
        scored: number of episodes that it was scored on.
        outside: returns the cause of a failed answer, if that is not the learner; otherwise "".
    """
    asked = _arrays(batch(opened, slice(0, episodes)))
    tasks = [_Task(*(array[k : k + 1] for array in asked)) for k in range(episodes)]
    # As many tasks at once as in scoring: it may take many for them to affect each other.
    count = min(max(2, tasks_per_batch(opened)), scored)
    together = learner.answer(batch(opened, slice(0, count))).logits.numpy()
    first = [_ask(learner, task) for task in tasks]
    both = list(zip(tasks, first, strict=True))
    pairs: dict[str, list[_Pair]] = {
        "permuted": [_permuted(learner, task, own) for task, own in both],
        "foreign": [_foreign(learner, t, tasks[k - 1], own) for k, (t, own) in enumerate(both)],
        "batched": [_pair(own, one, own) for own, one in zip(first, together, strict=False)],
        # In reverse order, so that each follows another task than the first time.
        "repeated": [_pair(own, _ask(learner, task), own) for task, own in reversed(both)],
    }
    problem = cause = ""
    alone: list[_Pair] = []  # those compared before a failure count
    try:
        for task, own in both:
            alone.extend(_alone(learner, task, own))
    except Exception as error:
        cause = outside(error)
        problem = f"one query alone: {cause or reason(error)}"
    if alone:
        pairs["alone"] = alone
    evidence = {name: _evidence(name, found) for name, found in pairs.items()}
    same = {name: not _differs(one) for name, one in evidence.items()}
    compared = [name for name in _OF_OTHER_QUERIES if name in evidence]
    inductive: bool | None = all(same[name] for name in compared)
    if problem and not cause:  # it needs other queries, so it depends on them
        inductive = False
    elif not same["repeated"]:  # answers differ even to the same question
        noise = evidence["repeated"].deviation
        far = any(evidence[name].deviation > _MIN_RATIO * noise for name in compared)
        inductive = False if far else None
    elif cause and inductive:  # not all was compared
        inductive = None
    return Properties(
        inductive=inductive,
        isolated=same["batched"] if same["repeated"] else None,
        independent=same["repeated"],
        episodes=episodes,
        evidence=list(evidence.values()),
        problem=problem,
    )


class _Task(NamedTuple):
    """One episode as a batch of one: arrays [1, n, ...]."""

    support_x: Any
    support_y: Any
    query_x: Any


class _Pair(NamedTuple):
    """The same queries answered twice."""

    deviation: npt.NDArray[np.float64]  # [Q]
    flipped: npt.NDArray[np.bool_]  # [Q]


def _arrays(given: Batch) -> list[npt.NDArray[Any]]:
    return [array.numpy() for array in (given.support_x, given.support_y, given.query_x)]


def _ask(learner: Answering, task: _Task) -> Logits:
    """Return a learner's answers [Q, way] to one task."""
    support_x, support_y, query_x = map(Array.of, task)
    answers: Logits = learner.answer(Batch(support_x, support_y, query_x)).logits.numpy()[0]
    return answers


def _alone(learner: Answering, task: _Task, own: Logits) -> Iterator[_Pair]:
    """Answer some queries of a task, spread over it, each by itself."""
    for q in np.linspace(0, len(own) - 1, min(_ALONE, len(own))).astype(int):
        one = task._replace(query_x=task.query_x[:, q : q + 1])
        yield _pair(own[q : q + 1], _ask(learner, one), own)


def _permuted(learner: Answering, task: _Task, own: Logits) -> _Pair:
    """Answer the queries in reverse order."""
    return _pair(own, _ask(learner, task._replace(query_x=task.query_x[:, ::-1]))[::-1], own)


def _foreign(learner: Answering, task: _Task, other: _Task, own: Logits) -> _Pair:
    """Answer the queries followed by those of another episode."""
    both = np.concatenate([task.query_x, other.query_x], axis=1)
    return _pair(own, _ask(learner, task._replace(query_x=both))[: len(own)], own)


def _pair(one: Logits, other: Logits, all_own: Logits) -> _Pair:
    """Compare answers that should be equal, in units of the spread of an episode's outputs."""
    moved = deviations(one, other, all_own)
    return _Pair(moved, flipped(one, other, moved, _TOLERANCE))


def _evidence(name: str, pairs: list[_Pair]) -> Evidence:
    return Evidence(
        probe=name,
        queries=sum(len(pair.deviation) for pair in pairs),
        deviation=_rounded(max(float(np.median(pair.deviation)) for pair in pairs)),
        flipped=_rounded(float(np.concatenate([pair.flipped for pair in pairs]).mean())),
    )


def _differs(found: Evidence) -> bool:
    return found.deviation > _TOLERANCE or found.flipped > _FLIPS


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
