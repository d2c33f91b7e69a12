"""`metabench.evaluate`: score a learner in this process, for notebooks and tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metabench.address import plain
from metabench.cell.cell import Cell, configure
from metabench.errors import NotApplicable, UsageError
from metabench.learner import Algorithm, Learner, Metric, TaskSpec
from metabench.plugins.process_state import put_back, settings_and_generators, torch_defaults
from metabench.plugins.registry import load_plugins
from metabench.results.schema import MOST_COUNT
from metabench.statistics.intervals import mean_ci
from metabench.suites.suite import Suite
from metabench.supervisor.lookup import find_budget, find_device, find_suite
from metabench.supervisor.request import Request
from metabench.tables import formatting
from metabench.text import one_line

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of a learner on a suite.

    Attributes:
        score: mean over episodes: accuracy as a fraction, or squared error.
        ci95: its 95 % confidence interval over episodes.
        macro_f1: mean of the episodes' macro-F1; None for regression.
        scores: [E] the score of each episode, in manifest order.
        episodes: how many were scored.
        suite: the suite's name.
        episodes_digest: digest of its manifest.
        metric: "accuracy" or "mse".
        nonfinite: how many outputs were NaN or infinite; these queries count as wrong.
    """

    score: float
    ci95: tuple[float, float]
    macro_f1: float | None
    scores: npt.NDArray[np.float64]
    episodes: int
    suite: str
    episodes_digest: str
    metric: Metric = "accuracy"
    nonfinite: int = 0

    def __str__(self) -> str:
        odd = f", {self.nonfinite:,} outputs not finite" if self.nonfinite else ""
        ci95 = self.ci95 if np.isfinite(self.ci95).all() else None  # a single episode has none
        shown = formatting.score(self.score, self.metric, ci95)
        return f"{self.suite}: {shown} ({self.episodes} episodes{odd})"


def evaluate(
    learner: Learner | Callable[[TaskSpec], Learner],
    suite: str | Suite,
    *,
    episodes: int | None = None,
    seed: int = 0,
    budget: str = "smoke",
    device: str | torch.device = "cpu",
    data_root: str | Path | None = None,
) -> Evaluation:
    """Score a learner in this process, for notebooks and tests; nothing is stored.

    Gradients are enabled, autocast is disabled, and the default dtype and device are float32 and
    the CPU, whatever they are where this is called. Random generators and settings of the process
    are afterwards as they were before.

    Args:
        learner: a `Learner` class, or any function from a `TaskSpec` to a learner: the learner
            is built and, if it has `fit` or `meta_step`, meta-trained first. Or a learner, which
            is scored as it is.
        suite: a suite or its name.
        episodes: how many of the first episodes to score; None: as many as the budget says.
        seed: seeds the learner and its training episodes.
        budget: how much meta-training, as in `run`.
        device: a torch device.
        data_root: where datasets are kept.

    Raises:
        UsageError: a value is wrong; there is no such suite; or the learner is not one, is for
            another number of classes, or gives outputs of a wrong shape.
        NotApplicable: it cannot be trained on the suite, which has no base data.

    Warns:
        UserWarning: some outputs are NaN or infinite.
    """
    from metabench.cell.scoring import score
    from metabench.supervisor.in_process_executor import InProcessExecutor
    from metabench.supervisor.suite_cache import SuiteCache
    from metabench.worker.session import Session

    if not isinstance(learner, Learner) and not callable(learner):
        raise UsageError(
            f"learner {learner!r}: pass a Learner class, a function from a TaskSpec to a learner, "
            "or a learner; algorithms by name are for metabench.run"
        )
    if not isinstance(suite, str | Suite):
        raise UsageError(f"suite={one_line(repr(suite))}: pass a name or a Suite")
    seed = _whole("seed", seed, least=0)
    if episodes is not None:
        episodes = _whole("episodes", episodes, least=1)
    request = Request(budget=budget, device=str(device), data_root=str(data_root or ""))
    plugins = load_plugins()
    if isinstance(suite, str):
        suite = find_suite(suite, plugins, None if data_root is None else str(data_root))
    if isinstance(learner, Learner) and learner.task.way != suite.way:
        raise UsageError(
            f"the learner is for {learner.task.way} classes, {suite.name} has {suite.way}"
        )
    budgeted = find_budget(request.budget)
    count = min(episodes or budgeted.scored(suite.episodes), suite.episodes)
    with (
        closing(SuiteCache(data_root)) as suites,
        put_back(settings_and_generators),
        torch_defaults(),
    ):
        opened = suites.open(suite)
        if isinstance(learner, Learner):
            scored = score(Session(learner), opened, count)
        else:
            algorithm = Algorithm("learner", build=learner, tasks=frozenset({suite.kind}))
            configured = configure(algorithm, {}, provider="")
            cell = Cell(suite, configured, seed, budgeted, find_device(request.device))
            result = InProcessExecutor(suites, plugins, count).submit(cell).result()
            if result.scores is None:
                raise NotApplicable(result.reason)
            scored = result.scores
    if scored.nonfinite:
        warnings.warn(
            f"{scored.nonfinite:,} outputs of the learner are NaN or infinite; their queries count "
            "as wrong",
            stacklevel=2,
        )
    scores = scored.per_episode()
    estimate = mean_ci(scores[None])
    return Evaluation(
        score=estimate.mean,
        ci95=(estimate.lo, estimate.hi),
        macro_f1=None if scored.f1 is None else float(np.mean(scored.f1)),
        scores=scores,
        episodes=len(scores),
        suite=suite.name,
        episodes_digest=opened.episodes.digest,
        metric=suite.metric,
        nonfinite=scored.nonfinite,
    )


def _whole(name: str, value: object, least: int) -> int:
    """Return a whole number of Python, NumPy or torch as one of Python."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise UsageError(f"{name}={one_line(repr(value))}: write a whole number")
    if number < least:
        raise UsageError(f"{name}={number}: must be at least {least}")
    if number > MOST_COUNT:
        raise UsageError(f"{name}={number}: must be at most {MOST_COUNT}")
    return number
