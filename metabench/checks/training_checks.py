"""Checks of meta-training: what it changes, its gradients, saved state, and memory."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from metabench.checks.checked_algorithm import CheckFailed, NotChecked, Subject, answers, ask
from metabench.errors import UsageError
from metabench.learner import Episodes, Learner, Support
from metabench.worker import learner_state
from metabench.worker.meta_training import meta_trained
from metabench.worker.session import seed_everything

_STEPS = 8
_TIES = 0.05
_DIRECTIONS = 5
_GRADIENT = 1e-3  # relative difference that rounding and kinks may cause
_EPISODES = 8  # in each window between two measurements of memory
_WARM_UP, _WINDOWS = 2, 12
_BYTES = 2048  # that an episode may leave; what Python caches is less, and stops growing


def learnables(subject: Subject) -> None:
    """Check that every parameter that requires a gradient changes in a few meta-steps."""
    learner = subject.build()
    if not hasattr(learner, "meta_step"):
        raise NotChecked("it has no meta_step")
    before = {name: value.detach().clone() for name, value in _learnables(learner)}
    subject.train(learner, updates=_STEPS)
    still = [name for name, value in _learnables(learner) if torch.equal(before[name], value)]
    # Weight decay changes parameters that no loss depends on.
    idle = [n for n, v in _learnables(learner) if v.grad is not None and not v.grad.any()]
    if idle and not still:
        raise CheckFailed(f"the gradient of {', '.join(idle)} is zero", "let the loss depend on it")
    if still:
        raise CheckFailed(
            f"{', '.join(still)} did not change in {_STEPS} meta-steps",
            "pass it to the optimiser and let the loss depend on it, or set requires_grad=False",
        )


def _learnables(learner: Learner) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and tensors that require gradients, with their names in the learner."""
    seen: set[int] = set()
    for part in learner_state.parts(learner):
        found: list[tuple[str, Tensor]] = []
        if isinstance(part.value, nn.Module):
            found = [(f"{part.name}.{name}", p) for name, p in part.value.named_parameters()]
        elif isinstance(part.value, Tensor):
            found = [(part.name, part.value)]
        for name, value in found:
            if value.requires_grad and id(value) not in seen:
                seen.add(id(value))
                yield name, value


def gradient(subject: Subject) -> None:
    """Check that the gradient of `meta_loss` agrees with finite differences."""
    learner = subject.build()
    if not hasattr(learner, "meta_loss"):
        raise NotChecked("it has no meta_loss")
    if subject.params.get("first_order") is True:
        raise NotChecked("first_order=true leaves out second derivatives on purpose")
    tasks = subject.tasks(3)
    single = Episodes(tasks.support, tasks.query, learner.task.way)
    learner.meta_loss(single)  # an exception here has nothing to do with float64
    try:
        episodes = _in_double(learner, single)
        loss = _meta_loss(learner, episodes)
    except RuntimeError as error:
        raise NotChecked(f"it does not run in float64: {error}") from error
    if loss.dtype != torch.float64:
        raise NotChecked("its loss is not float64, so differences would be rounding errors")
    values = [value for _, value in _learnables(learner)]
    exact = torch.autograd.grad(loss, values, allow_unused=True)
    gradients = [
        torch.zeros_like(value) if g is None else g for value, g in zip(values, exact, strict=True)
    ]
    errors = [
        _directional_error(learner, episodes, values, gradients, seed)
        for seed in range(_DIRECTIONS)
    ]
    if median(errors) > _GRADIENT:
        raise CheckFailed(
            f"meta-gradients differ from finite differences by {median(errors):.1%}",
            "keep the graph of the inner steps (create_graph=True) and detach nothing in it, or "
            "declare a parameter first_order and set it",
        )


def _meta_loss(learner: Any, episodes: Episodes) -> Tensor:
    """Return the loss, with the same random numbers every time."""
    seed_everything(learner.task.seed)
    loss: Tensor = learner.meta_loss(episodes)
    return loss


def _in_double(learner: Learner, episodes: Episodes) -> Episodes:
    for part in list(learner_state.parts(learner)):
        if isinstance(part.value, nn.Module):
            part.value.double()
        elif isinstance(part.value, Tensor) and part.value.is_floating_point():
            part.value.data = part.value.data.double()
    generator = torch.Generator().manual_seed(0)
    sides = []
    for x, y in (episodes.support, episodes.query):
        # Equal pixels tie in max-pooling, which has no derivative there.
        noise = torch.rand(x.shape, generator=generator, dtype=torch.float64)
        values = y.double() if y.is_floating_point() else y
        sides.append(Support(x.double() + _TIES * noise, values))
    return Episodes(sides[0], sides[1], episodes.way)


def _directional_error(
    learner: Learner, episodes: Episodes, values: list[Tensor], gradients: list[Tensor], seed: int
) -> float:
    """Return the relative error of the gradient in one random direction."""
    generator = torch.Generator().manual_seed(seed)
    direction = [torch.randn(v.shape, generator=generator, dtype=torch.float64) for v in values]
    norm = math.sqrt(sum(float(d.square().sum()) for d in direction))
    step = 1e-6

    def at(distance: float) -> float:
        with torch.no_grad():
            for value, d in zip(values, direction, strict=True):
                value += distance * d / norm
        loss = float(_meta_loss(learner, episodes).detach())
        with torch.no_grad():
            for value, d in zip(values, direction, strict=True):
                value -= distance * d / norm
        return loss

    measured = (at(step) - at(-step)) / (2 * step)
    products = [float((g * d).sum()) for g, d in zip(gradients, direction, strict=True)]
    claimed = sum(products) / norm
    scale = max(abs(measured), abs(claimed), 1e-8)
    return abs(measured - claimed) / scale


def round_trip(subject: Subject) -> None:
    """Check that a new learner with the state of a trained one gives the same answers."""
    learner, tasks = subject.trained(), subject.tasks(2)
    if not meta_trained(learner):
        raise NotChecked("it is not meta-trained")
    fresh = subject.build()
    problem = ""
    try:
        saved = learner_state.state_dict(learner)
        if not learner_state.fits(fresh, saved):
            problem = "its state does not fit a new learner"
    except UsageError as error:
        problem = str(error)
    if problem and hasattr(learner, "fit"):
        raise NotChecked("its state is created in fit, so killed cells start from the beginning")
    if problem:
        raise CheckFailed(
            problem, "create all state in __init__, or define state_dict and load_state_dict"
        )
    learner_state.load_state_dict(fresh, saved)
    if not torch.equal(answers(learner, tasks), answers(fresh, tasks)):
        raise CheckFailed(
            "a new learner with the same saved state answers differently",
            "keep all that training changes in attributes of the learner, or define state_dict",
        )


def memory(subject: Subject) -> None:
    """Check that answering tasks leaves no memory behind."""
    learner, tasks = subject.trained(), subject.tasks(5)

    def answer_some() -> None:
        for k in range(_EPISODES):
            one = tasks.one(k % len(tasks))
            ask(learner, one.support, one.query.x)

    for _ in range(_WARM_UP):
        answer_some()
    gc.collect()
    older = _tensors()  # which may grow too
    gc.freeze()  # other objects that exist already are no leak, and to count them takes long
    tracemalloc.start()
    least = math.inf
    try:
        held = _held(older)
        for _ in range(_WINDOWS):
            answer_some()
            before, held = held, _held(older)
            least = min(least, (held - before) / _EPISODES)
            # Caches fill only once, and objects from before tracing are replaced less and less
            # often by traced ones, so one window without growth is enough.
            if least <= _BYTES:
                return
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    raise CheckFailed(
        f"each task leaves {least / 1024:.1f} KiB behind",
        "keep nothing of a task in self, and detach the state of a task",
    )


def _held(older: Sequence[Tensor]) -> int:
    """Return the bytes of Python objects since tracing began, and those of all tensors."""
    gc.collect()
    tensors = [*older, *_tensors()]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return int(tracemalloc.get_traced_memory()[0] + sum(storages.values()))


def _tensors() -> list[Tensor]:
    # By type, because isinstance runs code of proxy objects.
    return [one for one in gc.get_objects() if issubclass(type(one), Tensor)]
