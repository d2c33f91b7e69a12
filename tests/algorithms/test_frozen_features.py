"""Learners on a frozen backbone embed each test image once, and answer as if they did not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from training_materials import open_digits

from metabench import Learner
from metabench.cell.commands import batch
from metabench.worker.session import Session

BATCHES = [slice(k, k + 12) for k in range(0, 60, 12)]
every_learner = pytest.mark.parametrize("name", ["protonet", "untrained", "pretrained"])


def outputs(learner: Learner, keep: bool) -> np.ndarray:
    session, opened = Session(learner), open_digits()
    asked = (replace(batch(opened, part), keep_features=keep) for part in BATCHES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.concatenate([session.answer(one).logits.numpy() for one in asked])


def count_images(learner: Any) -> list[int]:
    """Record the number of images in each call of the backbone, from now on."""
    counts: list[int] = []
    learner.backbone.register_forward_pre_hook(lambda module, given: counts.append(len(given[0])))
    return counts


@every_learner
@pytest.mark.parametrize("backbone", ["conv4[channels=8]", "conv4[channels=8,bn=none]"])
def test_answers_are_the_same_from_fewer_images(backbone: str, name: str, trained: Any) -> None:
    learner = trained(name, backbone=backbone)
    plain = outputs(learner, keep=False)
    images = count_images(learner)
    kept = outputs(learner, keep=True)
    np.testing.assert_allclose(kept, plain, atol=1e-4 * np.ptp(plain))
    assert (kept.argmax(-1) == plain.argmax(-1)).mean() > 0.99
    drawn = open_digits().episodes
    distinct = np.unique(np.concatenate([drawn.support[:60], drawn.query[:60]], axis=1))
    # The first batch is answered without kept features too, and each batch has two checked.
    assert sum(images) == len(distinct) + 12 * 80 + 2 * len(BATCHES)


@every_learner
@pytest.mark.parametrize("bn", ["episode", "support"])
def test_features_that_depend_on_the_task_are_not_kept(bn: str, name: str, trained: Any) -> None:
    learner = trained(name, backbone=f"conv4[channels=8,bn={bn}]")
    assert np.array_equal(outputs(learner, keep=True), outputs(learner, keep=False))
