"""Answers to test episodes from a learner's cached frozen features, as long as that is safe.

A wrong number is worse than a slow one. Features that depend on the rest of their batch, or that
change over time, are detected, and the learner then embeds the images of every episode again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from torch import Tensor

from metabench.cell.output_difference import deviations, flipped
from metabench.errors import reason
from metabench.learner import Learner
from metabench.worker.feature_cache import Embed, FeatureCache

TaskLogits = npt.NDArray[np.float32]  # [T, Q, way]

# An image that is embedded in another batch has features with other last digits.
_DEVIATION = 1e-4  # median over queries, by the spread of an episode's outputs
_FLIPS = 0.01  # share of queries whose class changes, where their outputs moved as well


class _NotFrozen(Exception):
    """The error for kept features that differ from those the learner computes now."""


class FrozenFeatures:
    """The features of a learner that defines `embed`, kept from one batch to the next.

    The first batch is answered twice: without kept features, and with all its images embedded
    beforehand in one call. The outputs agree if features depend neither on the rest of the batch
    nor on the task. After every batch some features are computed again: they have changed if the
    learner trains on test episodes. From the first disagreement or error on, nothing is kept, and
    that batch is answered without kept features.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._trusted = False
        embed = _embed_of(learner)
        self._cache = None if embed is None else FeatureCache(embed, learner.task.input_shape)

    def answer(
        self,
        plain: Callable[[], TaskLogits],
        cached: Callable[[], TaskLogits],
        images: Callable[[], Tensor],
    ) -> TaskLogits:
        """Return the outputs for a batch.

        Args:
            plain: answers the batch.
            cached: answers it while kept features replace `embed`.
            images: every image of the batch, [N, *shape].
        """
        if self._cache is None:
            return plain()
        first = None if self._trusted else plain()
        try:
            if first is None:
                return self._with_kept(self._cache, cached)
            self._cache(images())
            _check_equal(first, self._with_kept(self._cache, cached))
        except Exception as error:  # including memory that ran out
            self._cache = None
            name, why = type(self._learner).__name__, reason(error)
            warnings.warn(f"{name}.embed: {why}; no features are kept", stacklevel=2)
        self._trusted = True
        return plain() if first is None else first

    def _with_kept(self, cache: FeatureCache, cached: Callable[[], TaskLogits]) -> TaskLogits:
        calls = cache.calls
        with _standing_in(cache, self._learner):
            outputs = cached()
        if cache.calls == calls:  # the learner does not call `embed`
            self._cache = None
        elif cache.moved():
            raise _NotFrozen("features of an image depend on others, or change with time")
        return outputs


def _embed_of(learner: Learner) -> Embed | None:
    """Return the `embed` method of a learner if its features may be kept."""
    if learner.task.kind == "regression":  # points of functions do not recur
        return None
    # An attribute of this name, such as a network, promises nothing.
    declared = hasattr(type(learner), "embed") and "embed" not in vars(learner)
    embed: Embed | None = getattr(learner, "embed") if declared else None  # noqa: B009
    return embed


@contextmanager
def _standing_in(embed: Embed, learner: Learner) -> Iterator[None]:
    """Replace a learner's own `embed` during the block."""
    vars(learner)["embed"] = embed
    try:
        yield
    finally:
        del vars(learner)["embed"]


def _check_equal(plain: TaskLogits, cached: TaskLogits) -> None:
    moved = deviations(plain, cached, plain)
    share = flipped(plain, cached, moved, _DEVIATION).mean()
    median = float(np.median(moved))
    if median > _DEVIATION or share > _FLIPS:
        raise _NotFrozen(
            f"with kept features outputs move by {median:.2g} of their spread (median), and "
            f"{share:.0%} of the queries get another class"
        )
