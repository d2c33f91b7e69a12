"""One learner from construction to its last episode, inside the learner process."""

from __future__ import annotations

import copy
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import numpy as np
import torch
from torch import Tensor

from metabench.cell.messages import (
    Array,
    Batch,
    Failed,
    Measure,
    Measured,
    Outputs,
    Start,
    Trained,
    TrainingPlan,
)
from metabench.errors import NotApplicable, UsageError
from metabench.learner import Learner, Support, TaskSpec, load
from metabench.plugins.code_digest import cell_code
from metabench.plugins.registry import Plugins
from metabench.results.schema import MetaTraining, Status
from metabench.suites.training_data import TrainingData
from metabench.text import shortened
from metabench.threads import NONE_LEFT
from metabench.worker import learner_state, memory
from metabench.worker.answering import answer, to_float
from metabench.worker.base_data import Report
from metabench.worker.batch_halving import BatchHalving
from metabench.worker.checkpoint import CheckpointFile
from metabench.worker.cold_start import Audit
from metabench.worker.frozen_features import FrozenFeatures, TaskLogits
from metabench.worker.measure import measure_peaks, measure_times, stage
from metabench.worker.meta_training import meta_train, meta_trained
from metabench.worker.software import loaded_packages, torch_settings
from metabench.worker.timing import TimedBlock

_MAX_REASON = 500  # characters
_MAX_TRACEBACK = 20_000


class SetUpFailed(Exception):
    """A failure before any code of the learner ran: of the machine or the options, not its own."""


@contextmanager
def setting_up() -> Iterator[None]:
    """Turn exceptions of the block into `SetUpFailed`.

    Raises:
        SetUpFailed: the block raised an exception, which is the cause.
    """
    try:
        yield
    except Exception as error:
        raise SetUpFailed from error


def _silent(fraction: float, values: dict[str, float | None]) -> None: ...


class Session:
    """A learner that is trained, timed and tested, in this order."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._halving = BatchHalving(learner.task.device)
        self._frozen = FrozenFeatures(learner)

    @classmethod
    def of(cls, build: Callable[[], Learner], seed: int) -> Session:
        """Build a learner with every generator seeded.

        Raises:
            UsageError: `build` did not return a learner.
        """
        seed_everything(seed)
        learner = build()
        if not isinstance(learner, Learner):
            raise UsageError(f"build returned {learner!r}, which is not a metabench.Learner")
        if not hasattr(learner, "task"):
            raise UsageError(f"{type(learner).__name__} has no task: call super().__init__(task)")
        return cls(learner)

    def train(
        self,
        plan: TrainingPlan | None,
        material: TrainingData | None,
        report: Report = _silent,
        checkpoints: CheckpointFile | None = None,
    ) -> MetaTraining | None:
        """Meta-train the learner, if it can be, and return what that took.

        Raises:
            NotApplicable: there is nothing to train on.
        """
        if not meta_trained(self.learner):
            return None
        if plan is None or material is None:
            raise NotApplicable(
                "the suite has no base data to train on: use --train-on SUITE to train on another "
                "suite"
            )
        learns = learner_state.parameter_count(self.learner)
        if learns or learner_state.has_lazy_layers(self.learner):  # it may well make an optimiser
            _import_optimisers()
        return meta_train(self.learner, material, plan, report, checkpoints)

    def parameter_count(self) -> int:
        """Count the learnable numbers, including those that lazy layers get with the first task."""
        learner = self.learner
        if learner_state.has_lazy_layers(learner):  # it was not trained
            learner, task = copy.deepcopy(learner), learner.task
            blank = np.zeros((1, task.way, *task.input_shape), dtype=np.float32)
            targets = np.arange(task.way)[None]
            if task.kind == "regression":
                targets = np.zeros((1, task.way, 1), dtype=np.float32)
            answer(learner, blank, targets, blank)
        return learner_state.parameter_count(learner)

    def measure(self, command: Measure) -> Measured:
        """Time the learner and measure its memory, before it has seen a test episode."""
        seed_everything(self.learner.task.seed)
        device = self.learner.task.device
        staged = stage(command.batch, device)
        timing = measure_times(self.learner, staged, command.seconds, command.tasks, self._halving)
        support = Support(staged.support.x[:1].clone(), staged.support.y[:1])
        one = TimedBlock(support, staged.query_x[:1].clone())
        del staged, support  # must not count as the learner's memory
        peaks = measure_peaks(self.learner, one)
        return Measured(timing, peaks.adapt, peaks.predict)

    def answer(self, batch: Batch) -> Outputs:
        """Adapt to a batch of test episodes and predict their queries.

        Features are kept from batch to batch if the batch asks for it and if they prove frozen.
        Generators are seeded for every batch, so that a learner that uses torch's own gives the
        same outputs however many episodes were timed before.
        """
        support_x, support_y, query_x = (
            array.numpy() for array in (batch.support_x, batch.support_y, batch.query_x)
        )
        task, count = self.learner.task, len(support_x)

        def parts(tasks: int) -> TaskLogits:
            seed_everything(task.seed)
            at = [slice(k, k + tasks) for k in range(0, count, tasks)]
            found = [answer(self.learner, support_x[k], support_y[k], query_x[k]) for k in at]
            return np.concatenate(found)

        def plain() -> TaskLogits:
            return self._halving.run(parts, count)

        def cached() -> TaskLogits:
            return parts(max(1, count // 2) if self._halving.halved else count)

        def images() -> Tensor:
            both = (to_float(x, task.device).flatten(0, 1) for x in (support_x, query_x))
            return torch.cat(list(both))

        # Where memory is short, none is spent on features.
        if batch.keep_features and not self._halving.halved:
            logits = self._frozen.answer(plain, cached, images)
        else:
            logits = plain()
        return Outputs(Array.of(logits), halved=self._halving.halved)


def _import_optimisers() -> None:
    """Import what torch needs for its first optimiser, a second outside the learner's time."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def open_session(start: Start, plugins: Plugins, report: Report) -> tuple[Session, Trained]:
    """Build and meta-train the learner that `start` asks for.

    Raises:
        Exception: whatever the plugin raises; `failure` turns it into a message.
    """
    with setting_up():
        torch.set_num_threads(start.threads)
        found = plugins.algorithm(start.algorithm)
        # Read now: files may have been edited since the supervisor read them.
        code = cell_code(plugins, start.algorithm, start.params, start.task.kind, start.suite_code)
        task, device = with_backbones(start.task, plugins), start.task.device
        material = None if start.material is None else TrainingData.load(start.material)
        memory.reset_peak(device)
        bare = memory.peak(device)
    session = Session.of(lambda: load(found.spec.build)(task, **start.params), task.seed)
    checkpoints = (
        None if start.checkpoint is None else CheckpointFile(start.checkpoint, code.digest)
    )
    audit = Audit(device)
    training = session.train(start.plan, material, report, checkpoints)
    waited = audit.waited() if training is not None else None
    return session, Trained(
        training=training,
        episodic=hasattr(session.learner, "meta_step"),
        parameters=session.parameter_count(),
        packages=loaded_packages(code.packages),
        settings=torch_settings(),
        device_name=None if device == "cpu" else _device_name(device),
        bare_memory=bare,
        waited=waited,
        code=code.digest,
        files=dict(code.files),
    )


def with_backbones(task: TaskSpec, plugins: Plugins) -> TaskSpec:
    """Return the task with the catalogue of backbones."""
    return replace(task, backbones={name: found.spec for name, found in plugins.backbones.items()})


def seed_everything(seed: int) -> None:
    """Seed every global generator that a learner might use."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def failure(error: BaseException) -> Failed:
    """Turn an exception into a message for the supervisor, even if its `__str__` raises."""
    if isinstance(error, SetUpFailed) and error.__cause__ is not None:
        found = failure(error.__cause__)
        return msgspec.structs.replace(found, status="interrupted", traceback="")
    words = _words(error)
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as other:  # its own __str__ raises
        text = f"{words} (no traceback: {type(other).__name__})\n"
    text = text.encode(errors="backslashreplace").decode()
    if len(text) > _MAX_TRACEBACK:
        print(text, file=sys.stderr)  # whole in the log, as far as that has room
        text = shortened(text, _MAX_TRACEBACK)
    if isinstance(error, NotApplicable):
        return Failed(status="not_applicable", reason=words, traceback="")
    reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
    status: Status = "error"
    if memory.is_out_of_memory(error):
        status = "oom"
    elif isinstance(error, RuntimeError | OSError) and any(one in words for one in NONE_LEFT):
        status = "interrupted"
    return Failed(status=status, reason=reason, traceback=text)


def _words(error: BaseException) -> str:
    """Return the first line of an exception's text, cut to `_MAX_REASON` characters."""
    try:
        said = str(error)
    except Exception:
        said = ""
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    line = line.encode(errors="backslashreplace").decode()
    return shortened(line, _MAX_REASON)


def _device_name(device: str) -> str:
    kind = torch.device(device).type
    backend = getattr(torch, kind, None)
    name = getattr(backend, "get_device_name", None)
    return str(name(torch.device(device))) if name else kind
