"""Each probe finds the dependence of answers that it looks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from training_materials import open_digits, task

from metabench import BatchedLearner, Learner, Support, class_means
from metabench.cell.probe import probe
from metabench.results.schema import Properties
from metabench.worker.session import Session


class Honest(Learner):
    def adapt(self, support: Support) -> Tensor:
        return class_means(support)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -torch.cdist(query_x.flatten(1), state)


class LooksAtTheBatch(Honest):
    """As batch normalisation does."""

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return super().predict(state, query_x - query_x.mean(dim=0) * (len(query_x) > 1))


class CountsQueries(Honest):
    """Changes few answers, by their place."""

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        logits = super().predict(state, query_x)
        logits[: len(logits) // 10] = torch.eye(5)[0] * 100
        return logits


class Remembers(Honest):
    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.seen = 0.0

    def adapt(self, support: Support) -> Tensor:
        means = class_means(support)
        self.seen = 0.5 * self.seen + means.mean()
        return means * self.seen


class MixesTasks(BatchedLearner):
    def adapt(self, support: Support) -> Tensor:
        means = class_means(Support(support.x.flatten(2), support.y))
        return means + means.roll(1, dims=0)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -torch.cdist(query_x.flatten(2), state)


class HidesBehindAnOffset(LooksAtTheBatch):
    """Adds to all classes alike, which changes no probability."""

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return super().predict(state, query_x) + 1e3 * query_x.mean(dim=(1, 2, 3))[:, None]


class MixesManyTasks(MixesTasks):
    """Only where more tasks are worked on at once than are probed."""

    def adapt(self, support: Support) -> Tensor:
        means = class_means(Support(support.x.flatten(2), support.y))
        return means - means.mean(dim=0) * (len(means) > 4)


class JittersAndLooks(LooksAtTheBatch):
    """Transductive, and a little different each time."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.calls = 0

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        self.calls += 1
        return super().predict(state * (1 + 1e-3 * self.calls), query_x)


class NotANumber(Honest):
    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return super().predict(state, query_x) * float("nan")


class NeedsMany(Honest):
    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        if len(query_x) == 1:
            raise ValueError("one query is too few")
        return super().predict(state, query_x)


class RunsOutOfMemory(Honest):
    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        if len(query_x) == 1:
            raise MemoryError
        return super().predict(state, query_x)


class LooksAndRunsOut(RunsOutOfMemory):
    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return super().predict(state, query_x - query_x.mean(dim=0))


class LooksWhenAloneAndRunsOut(Honest):
    """Shows what it depends on before memory runs out."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.alone = 0

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        self.alone += len(query_x) == 1
        if self.alone > 3:
            raise MemoryError
        return super().predict(state, query_x.flip(2) if len(query_x) == 1 else query_x)


def properties(kind: type[Learner]) -> Properties:
    return probe(Session(kind(task())), open_digits(), episodes=3, scored=100)


@pytest.mark.parametrize(
    ("kind", "inductive", "isolated", "independent"),
    [
        (Honest, True, True, True),
        (LooksAtTheBatch, False, True, True),
        (CountsQueries, False, True, True),
        (HidesBehindAnOffset, False, True, True),
        (MixesTasks, True, False, True),
        (MixesManyTasks, True, False, True),
        (JittersAndLooks, False, None, False),
        (NotANumber, True, True, True),  # its scores say what is wrong
    ],
)
def test_what_is_wrong_is_named(kind, inductive, isolated, independent) -> None:
    found = properties(kind)
    assert found.inductive is inductive
    assert found.isolated is isolated
    assert found.independent is independent


@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("kind", "inductive", "isolated"),
    [(Honest, True, True), (LooksAtTheBatch, False, True), (MixesTasks, True, False)],
)
def test_more_tasks_may_be_probed_than_are_answered_at_once(
    at_once: int, kind, inductive, isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.cell.probe.tasks_per_batch", lambda opened: at_once)
    found = probe(Session(kind(task())), open_digits(), episodes=4, scored=100)
    assert (found.inductive, found.isolated) == (inductive, isolated)
    queries = {one.probe: one.queries for one in found.evidence}
    assert queries["repeated"] == 4 * 75
    assert queries["batched"] == min(max(2, at_once), 4) * 75


def test_state_that_is_carried_over_is_found() -> None:
    found = properties(Remembers)
    assert found.independent is False
    assert (found.inductive, found.isolated) == (None, None)  # nothing else is known


def test_the_evidence_is_kept() -> None:
    evidence = {one.probe: one for one in properties(LooksAtTheBatch).evidence}
    assert list(evidence) == ["permuted", "foreign", "batched", "repeated", "alone"]
    assert evidence["alone"].queries == 3 * 5
    assert evidence["alone"].deviation > 0.01
    assert evidence["permuted"].queries == 3 * 75
    assert evidence["permuted"].deviation < 1e-5
    assert evidence["repeated"].deviation == 0


def test_who_cannot_answer_one_query_alone_depends_on_others() -> None:
    found = properties(NeedsMany)
    assert found.inductive is False
    assert (found.isolated, found.independent) == (True, True)
    assert found.problem == "one query alone: one query is too few"


def test_memory_that_runs_out_leaves_unknown_if_answers_depend_on_others() -> None:
    found = properties(RunsOutOfMemory)
    assert found.inductive is None
    assert (found.isolated, found.independent) == (True, True)
    assert found.problem == "one query alone: MemoryError"
    assert "alone" not in {one.probe for one in found.evidence}


@pytest.mark.parametrize("kind", [LooksAndRunsOut, LooksWhenAloneAndRunsOut])
def test_dependence_found_before_memory_runs_out_counts(kind: type[Learner]) -> None:
    found = properties(kind)
    assert found.inductive is False
    assert found.problem == "one query alone: MemoryError"
