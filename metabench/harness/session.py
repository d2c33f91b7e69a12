"""One learner from birth to its last episode; runs inside the learner process."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable

import numpy as np
import torch

from metabench.errors import NotApplicable, UsageError
from metabench.harness import state
from metabench.harness.base import Report
from metabench.harness.environment import loaded_packages
from metabench.harness.evaluate import answer
from metabench.harness.messages import Array, Batch, Failed, Outputs, Plan, Start, Task, Trained
from metabench.harness.outer_loop import meta_train, meta_trained
from metabench.learner import Learner, TaskSpec, load
from metabench.plugins import Plugins
from metabench.suites.material import Material


class Session:
    """A learner that has been built and meta-trained.

    Attributes:
        trained: what to tell the supervisor about it.
    """

    def __init__(
        self,
        build: Callable[[], Learner],
        seed: int,
        plan: Plan | None,
        material: Material | None,
        report: Report,
    ) -> None:
        seed_everything(seed)
        self.learner = build()
        if not isinstance(self.learner, Learner):
            raise UsageError(f"build gave {self.learner!r}, which is not a metabench.Learner")
        training = None
        if meta_trained(self.learner):
            if plan is None or material is None:
                raise NotApplicable(
                    "the suite has no base data to train on; name a suite that has "
                    "with --train-on SUITE"
                )
            training = meta_train(self.learner, material, plan, report)
        device = self.learner.task.device
        self.trained = Trained(
            training=training,
            episodic=hasattr(self.learner, "meta_step"),
            parameters=state.parameter_count(self.learner),
            packages=loaded_packages(),
            device_name=None if device == "cpu" else _device_name(device),
        )

    def answer(self, batch: Batch) -> Outputs:
        """Answer a batch of test episodes."""
        return answer_batch(self.learner, batch)


def answer_batch(learner: Learner, batch: Batch) -> Outputs:
    """Adapt to a batch of test episodes and predict their queries.

    Generators are seeded anew, so that a learner that uses torch's own gives the same
    outputs however many episodes were timed before.
    """
    seed_everything(learner.task.seed)
    arrays = (batch.support_x.numpy(), batch.support_y.numpy(), batch.query_x.numpy())
    logits, adapt_s, predict_s = answer(learner, *arrays)
    return Outputs(logits=Array.of(logits), adapt_s=adapt_s, predict_s=predict_s)


def open_session(start: Start, plugins: Plugins, report: Report) -> Session:
    """Build and meta-train the learner that `start` asks for.

    Raises:
        Exception: whatever the plugin raises; `failure` makes a message of it.
    """
    torch.set_num_threads(start.threads)
    found = plugins.algorithm(start.algorithm)
    task = task_spec(start.task, plugins)
    return Session(
        build=lambda: load(found.spec.build)(task, **start.params),
        seed=start.task.seed,
        plan=start.plan,
        material=None if start.material is None else Material.load(start.material),
        report=report,
    )


def task_spec(task: Task, plugins: Plugins) -> TaskSpec:
    """The contract's `TaskSpec`: a task with the catalogue of backbones."""
    backbones = {name: found.spec for name, found in plugins.backbones.items()}
    return TaskSpec(
        input_shape=task.input_shape,
        way=task.way,
        shot=task.shot,
        kind=task.kind,  # type: ignore[arg-type]
        device=task.device,
        seed=task.seed,
        backbones=backbones,
    )


def seed_everything(seed: int) -> None:
    """Seed every generator a learner might use without being told to."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def failure(error: BaseException) -> Failed:
    """What to tell the supervisor about an exception."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, NotApplicable):
        return Failed(status="not_applicable", reason=str(error), traceback="")
    out = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if out or "can't allocate memory" in str(error):  # torch's words on a CPU
        return Failed(status="oom", reason=_one_line(error), traceback=text)
    return Failed(status="error", reason=_one_line(error), traceback=text)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    return f"{name}: {lines[0]}" if lines else name


def _device_name(device: str) -> str:
    kind = torch.device(device).type
    backend = getattr(torch, kind, None)
    name = getattr(backend, "get_device_name", None)
    return str(name(torch.device(device))) if name else kind
