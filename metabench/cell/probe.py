"""What a learner's answers depend on, measured on episodes of its own suite.

A learner that is asked the same query must not answer differently because other queries stand
beside it (it would be transductive), because other tasks are worked on at the same time, or
because of what it was asked before. Papers were wrong for each of these: batch statistics at test
are worth 0.5 to 2.3 points on Omniglot (Nichol et al. 2018, arXiv:1803.02999, table 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metabench.cell.commands import batch, tasks_per_batch
from metabench.cell.messages import Array, Batch
from metabench.cell.output_difference import deviations, flipped
from metabench.cell.scoring import Answering
from metabench.results.schema import Evidence, Properties
from metabench.suites.open_suite import OpenSuite

Logits = npt.NDArray[np.float32]

_COMPANY = ("alone", "permuted", "foreign")
_FAR = 10  # times the difference between equal questions
_ALONE = 5  # queries of an episode that are asked one by one

# Sums in another order differ in their last digits; statistics of other queries differ by far
# more than this, relatively to how far the outputs of an episode lie apart.
_TOLERANCE = 1e-3
_FLIPS = 0.02  # share of queries that get another class


def probe(learner: Answering, opened: OpenSuite, episodes: int, scored: int) -> Properties:
    """Ask the first episodes again in other company, and compare the answers.

    Args:
        learner: trained; asked about 10 times as many tasks as there are episodes.
        opened: its suite.
        episodes: at least 2.
        scored: how many episodes it was scored on.
    """
    asked = _arrays(batch(opened, slice(0, episodes)))
    tasks = [_Task(*(array[k : k + 1] for array in asked)) for k in range(episodes)]
    # As many tasks at once as were scored: what they do to each other may take many.
    company = min(max(2, tasks_per_batch(opened)), scored)
    together = learner.answer(batch(opened, slice(0, company))).logits.numpy()
    first = [_ask(learner, task) for task in tasks]
    both = list(zip(tasks, first, strict=True))
    pairs: dict[str, list[_Pair]] = {
        "permuted": [_permuted(learner, task, own) for task, own in both],
        "foreign": [_foreign(learner, t, tasks[k - 1], own) for k, (t, own) in enumerate(both)],
        "batched": [_pair(own, beside, own) for own, beside in zip(first, together, strict=False)],
        # Backwards, so that each comes after another task than the first time.
        "repeated": [_pair(own, _ask(learner, task), own) for task, own in reversed(both)],
    }
    problem = ""
    try:
        pairs["alone"] = [pair for task, own in both for pair in _alone(learner, task, own)]
    except Exception as error:  # it needs company: that is to depend on it
        problem = f"one query alone: {str(error) or type(error).__name__}"
    evidence = {name: _evidence(name, found) for name, found in pairs.items()}
    same = {name: not _differs(one) for name, one in evidence.items()}
    inductive: bool | None = not problem and all(same[name] for name in _COMPANY)
    if not same["repeated"] and not problem:  # answers differ whatever the company
        noise = evidence["repeated"].deviation
        far = any(evidence[name].deviation > _FAR * noise for name in _COMPANY)
        inductive = False if far else None
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
    """Its answers [Q, way]."""
    support_x, support_y, query_x = map(Array.of, task)
    answers: Logits = learner.answer(Batch(support_x, support_y, query_x)).logits.numpy()[0]
    return answers


def _alone(learner: Answering, task: _Task, own: Logits) -> Iterator[_Pair]:
    """Some queries of a task, spread over it, each by itself."""
    for q in np.linspace(0, len(own) - 1, min(_ALONE, len(own))).astype(int):
        one = task._replace(query_x=task.query_x[:, q : q + 1])
        yield _pair(own[q : q + 1], _ask(learner, one), own)


def _permuted(learner: Answering, task: _Task, own: Logits) -> _Pair:
    """The queries the other way round."""
    return _pair(own, _ask(learner, task._replace(query_x=task.query_x[:, ::-1]))[::-1], own)


def _foreign(learner: Answering, task: _Task, other: _Task, own: Logits) -> _Pair:
    """The queries of another episode behind its own."""
    both = np.concatenate([task.query_x, other.query_x], axis=1)
    return _pair(own, _ask(learner, task._replace(query_x=both))[: len(own)], own)


def _pair(one: Logits, other: Logits, all_own: Logits) -> _Pair:
    """How far answers that should be equal are not, by the spread of an episode's outputs."""
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
