"""Checks of the catalogue entry, of shapes, and of what a learner must not change."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from metabench.checks.checked_algorithm import SHORT, CheckFailed, NotChecked, Subject, ask
from metabench.checks.equal_outputs import difference
from metabench.errors import UsageError
from metabench.learner import Episodes, load
from metabench.plugins.process_state import put_back, settings, settings_and_generators
from metabench.worker import learner_state
from metabench.worker.answering import as_batched
from metabench.worker.session import seed_everything

_UNUSUAL_SEED = 20_261
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# way, shot, total number of queries
_SHAPES = ((5, 1, 25), (2, 1, 1), (2, 5, 10), (20, 1, 20), (5, 5, 5))


def catalogue(subject: Subject) -> None:
    """Check that `build` exists and takes the declared parameters."""
    build = load(subject.algorithm.build)
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):  # of a built-in
        return
    declared = subject.algorithm.params
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise CheckFailed(
            "build takes no task", f"make the task its first argument: {subject.place}"
        )
    named = parameters[1:]
    taken = {p.name for p in named}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in named)
    needed = [p.name for p in named if p.default is p.empty and p.kind in _NAMED]
    undeclared = [name for name in needed if name not in declared]
    missing = [] if takes_any else [name for name in declared if name not in taken]
    if undeclared or missing:
        what = [f"build needs {n}, which is not declared" for n in undeclared]
        what += [f"{n} is declared, but build does not take it" for n in missing]
        raise CheckFailed("; ".join(what), "let Algorithm(params=...) and build agree")


def build(subject: Subject) -> None:
    """Check that a learner can be built and trained, by `fit` or by `meta_step`."""
    learner = subject.build()
    for name in ("adapt", "predict"):
        if not callable(getattr(learner, name, None)):
            raise CheckFailed(f"it has no {name}", f"define {name}(self, ...)")
    if hasattr(learner, "fit") and hasattr(learner, "meta_step"):
        raise CheckFailed("it has both fit and meta_step", "define only one of them")
    subject.trained()


def shapes(subject: Subject) -> None:
    """Check that outputs have one row per query and one column per class, float and finite."""
    shapes_ = _SHAPES if subject.kind == "classification" else ((1, 10, 20),)
    for way, shot, queries in shapes_:
        name = f"{way}-way {shot}-shot, {queries} quer{'y' if queries == 1 else 'ies'}"
        try:
            learner = subject.trained(way, shot)
        except UsageError as error:
            raise CheckFailed(f"{name}: {error}", "support every way and shot") from error
        tasks = subject.tasks(2, way, shot, query=max(1, queries // way))
        query_x = tasks.query.x[:, :queries]
        outputs = ask(learner, tasks.support, query_x)
        _check_outputs(name, outputs, (2, query_x.shape[1], way))


def _check_outputs(name: str, outputs: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(outputs.shape) != expected:
        raise CheckFailed(
            f"{name}: predict returned {list(outputs.shape[1:])}, expected {list(expected[1:])}",
            "return one row for each query and one column for each class",
        )
    if not outputs.dtype.is_floating_point:
        raise CheckFailed(f"{name}: outputs are {outputs.dtype}", "return logits as float32")
    if not outputs.isfinite().all():
        raise CheckFailed(
            f"{name}: some outputs are NaN or infinite",
            "look for division by zero, logarithms of zero, and steps that are too large",
        )


def inputs(subject: Subject) -> None:
    """Check that `adapt`, `predict` and `meta_step` do not change their input tensors."""
    learner, tasks = subject.trained(), subject.tasks(1)
    given = [*tasks.support, tasks.query.x]
    before = [tensor.clone() for tensor in given]
    batched = as_batched(learner)
    batched.predict(batched.adapt(tasks.support), tasks.query.x)
    _check_unchanged(("support.x", "support.y", "query_x"), before, given)
    if hasattr(learner, "meta_step"):
        given = [*tasks.support, *tasks.query]
        before = [tensor.clone() for tensor in given]
        fresh: Any = subject.build()
        fresh.meta_step(Episodes(tasks.support, tasks.query, fresh.task.way))
        names = ("support.x", "support.y", "query.x", "query.y")
        _check_unchanged([f"episodes.{name}" for name in names], before, given)


def _check_unchanged(names: Sequence[str], before: list[Tensor], after: list[Tensor]) -> None:
    for name, one, other in zip(names, before, after, strict=True):
        if not torch.equal(one, other):
            raise CheckFailed(f"{name} was changed", f"work on a copy: {name}.clone()")


def global_state(subject: Subject) -> None:
    """Check that a learner does not change random generators or settings of the process."""
    tasks = subject.tasks(1)
    # Libraries change settings when they are first used, which is not the learner's fault.
    with put_back(settings_and_generators):
        ask(subject.train(subject.build(), updates=SHORT), tasks.support, tasks.query.x)
    # Building and training may draw from the global generators, which the harness seeds.
    with put_back(settings) as found:
        learner = subject.train(subject.build(), updates=SHORT)
    changed = list(found)
    seed_everything(_UNUSUAL_SEED)  # a seed that no plugin is likely to set itself
    with put_back(settings_and_generators) as found:
        batched = as_batched(learner)
        batched.predict(batched.adapt(tasks.support), tasks.query.x)
    changed += [name for name in found if name not in changed]
    if changed:
        raise CheckFailed(
            f"it changes {', '.join(changed)}",
            "restore what you change; draw random numbers from a new self.task.generator()",
        )


def devices(subject: Subject) -> None:
    """Check that the accelerator gives the same answers as the CPU."""
    if not torch.accelerator.is_available():
        raise NotChecked("there is no accelerator")
    found = torch.accelerator.current_accelerator()
    assert found is not None
    kind = found.type
    tasks, here = subject.tasks(4), subject.trained()
    there = subject.build(device=kind)
    try:
        state = learner_state.state_dict(here)
    except UsageError as error:
        raise NotChecked(str(error)) from error
    learner_state.load_state_dict(there, state)
    cudnn = torch.backends.cudnn
    flags = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    with cudnn.flags(**flags, allow_tf32=False):  # TF32 moves outputs by more than rounding
        moved = difference(
            ask(here, tasks.support, tasks.query.x), ask(there, tasks.support, tasks.query.x)
        )
    if moved:
        raise CheckFailed(f"{kind} and cpu differ: {moved}", "create every tensor on task.device")
