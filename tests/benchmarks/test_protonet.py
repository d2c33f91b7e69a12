"""Prototypical networks: ours on the harness's way, and easyfsl's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.images import QUERY, WAY, random_suite
from benchmarks.options import Options, Refused
from benchmarks.protonet import agree, answer, as_tasks, check, learner
from benchmarks.setting import Setting


@pytest.fixture
def case(small: Setting) -> Setting:
    return replace(small, way=WAY, query=QUERY, tasks=3)


def test_predictions_are_the_nearest_means(case: Setting) -> None:
    opened = random_suite("novel", classes=8, shot=1, episodes=case.tasks, side=case.side)
    ours = learner(case, opened)
    expected = []
    with torch.no_grad():
        for support_x, _, query_x, _, _ in as_tasks(case, opened):
            distances = torch.cdist(ours.backbone(query_x), ours.backbone(support_x))
            expected.append(distances.argmin(1))  # at one shot an example is its class's mean
    assert torch.equal(answer(ours, opened), torch.stack(expected))


def test_easyfsl_predicts_the_same(case: Setting, easyfsl: str, options: Options) -> None:
    check(case, options, classes=8)


def test_other_predictions_are_refused() -> None:
    with pytest.raises(Refused, match="1 of 4 differ from easyfsl's"):
        agree("5-way", torch.zeros(2, 2), torch.tensor([[0, 0], [1, 0]]))
