"""Meta-training, driven by metabench: budget, clock and selection are alike for all algorithms."""

from __future__ import annotations

import logging
import math
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from torch import from_numpy

from metabench.cell.messages import TrainingPlan
from metabench.cell.scores import correct_counts, predicted_classes, squared_errors
from metabench.data.dataset import Indices, truth
from metabench.errors import DataError, UsageError
from metabench.learner import Episodes, Learner, Support
from metabench.results.schema import CurvePoint, MetaTraining
from metabench.suites.episode_draw import Drawn
from metabench.suites.training_data import TrainingData
from metabench.worker import learner_state, memory
from metabench.worker.answering import answer, gather, tensor_on
from metabench.worker.base_data import Base, Meter, Report, finite
from metabench.worker.checkpoint import CheckpointFile, SavedFit, SavedLoop, generators
from metabench.worker.clock import now, synchronize

_MEASURED = 2  # updates whose memory is measured; the second includes the optimiser's state
_POINTS = 10  # points of the learning curve
_IMAGES_AT_ONCE = 1024  # bounds the memory of a validation batch
_DRAWN_AT_ONCE = 128  # drawing episodes in blocks is faster and does not change them

_log = logging.getLogger(__name__)


def meta_trained(learner: Learner) -> bool:
    """Return whether the learner can be meta-trained."""
    return hasattr(learner, "fit") or hasattr(learner, "meta_step")


def meta_train(
    learner: Learner,
    material: TrainingData,
    plan: TrainingPlan,
    report: Report,
    checkpoints: CheckpointFile | None = None,
) -> MetaTraining:
    """Train a learner in place, within the plan's budget.

    Args:
        learner: a learner with `fit` or `meta_step`.
        material: base and validation examples.
        plan: budget and training episodes.
        report: called with the progress of training.
        checkpoints: keeps checkpoints; for learners with `fit`, only one of finished training.

    Raises:
        UsageError: the learner defines both methods, or its best state could not be saved.
        DataError: it needs training episodes that cannot be drawn, or it must not be trained
            and there is no checkpoint of finished training.
    """
    if hasattr(learner, "fit") and hasattr(learner, "meta_step"):
        raise UsageError(f"{type(learner).__name__} defines both fit and meta_step: keep one")
    if hasattr(learner, "fit"):
        return _fit(learner, material, plan, report, checkpoints)
    return _OuterLoop(learner, material, plan, report, checkpoints).run()


def _fit(
    learner: Any,
    material: TrainingData,
    plan: TrainingPlan,
    report: Report,
    checkpoints: CheckpointFile | None,
) -> MetaTraining:
    kept = None if checkpoints is None else checkpoints.resume(learner, SavedFit)
    if kept is not None:
        return replace(kept.training, resumed=kept.training.resumed + 1)
    meter = Meter(plan, report)
    memory.reset_peak(learner.task.device)
    learner.fit(Base(material, meter, learner.task.device))
    synchronize(learner.task.device)
    training = MetaTraining(
        updates=meter.updates,
        tasks=meter.tasks,
        images=meter.images,
        seconds=now() - meter.started,
        curve=meter.curve,
        selected="last",
        selected_update=meter.updates,
        peak_memory=memory.peak(learner.task.device),
    )
    if checkpoints is not None and checkpoints.due(done=True, seconds=training.seconds):
        checkpoints.save(
            lambda: {
                "learner": learner_state.state_dict(learner),
                "training": msgspec.to_builtins(training),
            }
        )
    return training


def _number(loss: object) -> float:
    try:
        return float(loss)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        given = type(loss).__name__
        raise UsageError(f"meta_step returned {given}: return the loss as one number") from None


class _OuterLoop:
    """The outer loop: `meta_step` until the budget is spent, then the best validated state."""

    def __init__(
        self,
        learner: Any,
        material: TrainingData,
        plan: TrainingPlan,
        report: Report,
        checkpoints: CheckpointFile | None,
    ) -> None:
        if plan.training is None:
            raise DataError(plan.why_not)
        self.learner, self.material, self.plan, self.report = learner, material, plan, report
        self.shape, self.examples = plan.training, tensor_on(material.images)
        self.validation = None
        if plan.validation_shape is not None:
            self.validation = material.validating(plan.validation_episodes, *plan.validation_shape)
        if self.validation is not None:  # the best state is needed, at a later time
            learner_state.check_savable(learner)
        self.update = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self.curve: list[CurvePoint] = []
        self.best: tuple[float, int, dict[str, Any]] | None = None
        self.points = 0  # points of the curve reached so far
        self.resumed = self.steps = 0  # `steps` counts those of this process
        self.peak: int | None = None
        self.checkpoints = checkpoints
        self._block: Drawn | None = None

    def run(self) -> MetaTraining:
        self._resume()
        if self.checkpoints is not None and self.checkpoints.frozen and self._fraction() < 1:
            raise DataError(
                f"the checkpoint is incomplete ({self.update} updates), and --frozen forbids "
                "training"
            )
        while self._fraction() < 1:
            self._step()
            fraction = min(self._fraction(), 1.0)
            values = self._point() if fraction * _POINTS >= self.points + 1 else {}
            self.report(fraction, values)
            if self.checkpoints is not None and self.checkpoints.due(fraction >= 1, self.seconds):
                self.checkpoints.save(self._content)
        problem = self._restore_best()
        tasks = self.update * self.shape.tasks_per_step
        if self.plan.tasks is not None:  # the last update gets the remaining tasks
            tasks = min(tasks, int(self.plan.tasks))
        return MetaTraining(
            updates=self.update,
            tasks=tasks,
            images=tasks * self.shape.way * (self.shape.shot + self.shape.query),
            seconds=self.seconds,
            curve=self.curve,
            selected="last" if self.best is None else "best",
            selected_update=self.update if self.best is None else self.best[1],
            best_validation=None if self.best is None else self.best[0],
            resumed=self.resumed,
            peak_memory=self.peak,
            tasks_at_once=getattr(self.learner, "tasks_at_once", 0),
            problem=problem,
        )

    def _restore_best(self) -> str:
        """Restore the best state; if it does not fit any more, keep the last one and return why."""
        if self.best is None:
            return ""
        _, update, state = self.best
        try:
            learner_state.load_state_dict(self.learner, state)
        except UsageError as error:
            self.best = None
            problem = f"the best state, of update {update}, cannot be restored: {error}"
            _log.warning("the last state is kept: %s", problem)
            return problem
        return ""

    def _content(self) -> dict[str, Any]:
        """Return everything that the rest of training depends on."""
        return {
            "update": self.update,
            "seconds": self.seconds,
            "losses": self.losses,
            "curve": msgspec.to_builtins(self.curve),
            "best": self.best,
            "points": self.points,
            "resumed": self.resumed,
            "peak": self.peak,
            "learner": learner_state.state_dict(self.learner),
            "generators": generators(self.learner.task.device),
        }

    def _resume(self) -> None:
        """Resume from the checkpoint, if there is one that fits the learner."""
        if self.checkpoints is None:
            return
        saved = self.checkpoints.resume(self.learner, SavedLoop)
        if saved is None:
            return
        self.update, self.seconds = saved.update, saved.seconds
        self.losses, self.points = saved.losses, saved.points
        self.curve, self.best = saved.curve, saved.best
        self.resumed, self.peak = saved.resumed + 1, saved.peak

    def _fraction(self) -> float:
        """Return the share of the budget that is used."""
        used = [0.0]
        if self.plan.updates is not None:
            used.append(self.update / self.plan.updates)
        if self.plan.seconds is not None:
            used.append(self.seconds / self.plan.seconds)
        return max(used)

    def _step(self) -> None:
        episodes = self._episodes()  # drawing them is metabench's work, not the learner's
        device, measured = self.learner.task.device, self.steps < _MEASURED
        if measured:
            memory.reset_peak(device)
        start = now()
        loss = self.learner.meta_step(episodes)
        synchronize(device)
        self.seconds += now() - start
        self.steps += 1
        if measured:
            peak = memory.peak(device)
            self.peak = peak if self.peak is None or peak is None else max(self.peak, peak)
        self.losses.append(_number(loss))
        self.update += 1

    def _episodes(self) -> Episodes:
        """Return the training episodes of the next update."""
        shape, device = self.shape, self.learner.task.device
        tasks = shape.tasks_per_step
        block = max(1, _DRAWN_AT_ONCE // tasks)
        within = self.update % block
        if within == 0 or self._block is None:
            self._block = self.material.training(
                self.plan.training_seed,
                (self.update - within) * tasks,
                block * tasks,
                shape.way,
                shape.shot,
                shape.query,
            )
        first = within * tasks
        if self.plan.tasks is not None:
            tasks = min(tasks, int(self.plan.tasks) - self.update * tasks)
        drawn = Drawn(*(array[first : first + tasks] for array in self._block))

        def labelled(members: Indices, labels: Indices) -> Support:
            known = truth(members, labels, self.material.targets)
            y = from_numpy(np.ascontiguousarray(known)).to(device)
            return Support(gather(self.examples, members, device), y)

        return Episodes(
            support=labelled(drawn.support, drawn.support_y),
            query=labelled(drawn.query, drawn.query_y),
            way=shape.way,
        )

    def _point(self) -> dict[str, float | None]:
        """Add a point to the curve, and keep the state if it is the best so far."""
        self.points = math.floor(min(self._fraction(), 1.0) * _POINTS)
        values = {"loss": sum(self.losses) / len(self.losses)}
        self.losses.clear()
        if self.validation is not None:
            score = self._validate(self.validation)
            values["validation"] = score
            if self._is_best(score):
                self.best = (score, self.update, learner_state.state_dict(self.learner))
        point = CurvePoint(update=self.update, values=finite(values))
        self.curve.append(point)
        return point.values

    def _is_best(self, score: float) -> bool:
        """Return whether a score is better than all before; one that is not finite never is."""
        if self.best is None:
            return math.isfinite(score)
        return score < self.best[0] if self.material.targets is not None else score > self.best[0]

    def _validate(self, drawn: Drawn) -> float:
        """Return mean accuracy or squared error on validation episodes of the suite's shape."""
        images, targets = self.material.images, self.material.targets
        at_once = max(1, _IMAGES_AT_ONCE // (drawn.support.shape[1] + drawn.query.shape[1]))
        total = 0.0
        for start in range(0, len(drawn.support), at_once):
            part = slice(start, start + at_once)
            outputs = answer(
                self.learner,
                images[drawn.support[part]],
                truth(drawn.support[part], drawn.support_y[part], targets),
                images[drawn.query[part]],
            )
            asked = truth(drawn.query[part], drawn.query_y[part], targets)
            if targets is None:
                total += int(correct_counts(predicted_classes(outputs), asked).sum())
            else:
                total += drawn.query.shape[1] * float(squared_errors(outputs, asked).sum())
        return total / drawn.query.size
