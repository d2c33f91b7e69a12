"""Checks of form: the catalogue entry, shapes, and what a learner must leave alone."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from metabench.checks import process_state
from metabench.checks.checked_algorithm import CheckFailed, NotChecked, Subject, ask
from metabench.checks.equal_outputs import difference
from metabench.errors import UsageError
from metabench.learner import Episodes, load
from metabench.worker import learner_state
from metabench.worker.answering import as_batched
from metabench.worker.session import seed_everything

_ODD_SEED = 20_261
_BY_PLACE = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# way, shot, queries in all
_SHAPES = ((5, 1, 25), (2, 1, 1), (2, 5, 10), (20, 1, 20), (5, 5, 5))


def catalogue(subject: Subject) -> None:
    """The entry's `build` exists and takes the parameters that are declared."""
    build = load(subject.algorithm.build)
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):  # of a built-in
        return
    declared = subject.algorithm.params
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in _BY_PLACE:
        raise CheckFailed(
            "build takes no task", f"let its first argument be the task: {subject.place}"
        )
    named = parameters[1:]
    taken = {p.name for p in named}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in named)
    needed = [p.name for p in named if p.default is p.empty and p.kind in _BY_NAME]
    undeclared = [name for name in needed if name not in declared]
    missing = [] if takes_any else [name for name in declared if name not in taken]
    if undeclared or missing:
        what = [f"build needs {n}, which is not declared" for n in undeclared]
        what += [f"{n} is declared, build does not take it" for n in missing]
        raise CheckFailed("; ".join(what), "make Algorithm(params=...) and build agree")


def build(subject: Subject) -> None:
    """A learner can be built and trained, in one way at most."""
    learner = subject.build()
    for name in ("adapt", "predict"):
        if not callable(getattr(learner, name, None)):
            raise CheckFailed(f"it has no {name}", f"define {name}(self, ...)")
    if hasattr(learner, "fit") and hasattr(learner, "meta_step"):
        raise CheckFailed("it has both fit and meta_step", "keep one of them")
    subject.trained()


def shapes(subject: Subject) -> None:
    """Outputs have one row a query and one column a class, float and finite, for any task."""
    shapes_ = _SHAPES if subject.kind == "classification" else ((1, 10, 20),)
    for way, shot, queries in shapes_:
        name = f"{way}-way {shot}-shot, {queries} quer{'y' if queries == 1 else 'ies'}"
        try:
            learner = subject.trained(way, shot)
        except UsageError as error:
            raise CheckFailed(f"{name}: {error}", "let it be built for any way and shot") from error
        tasks = subject.tasks(2, way, shot, query=max(1, queries // way))
        query_x = tasks.query.x[:, :queries]
        outputs = ask(learner, tasks.support, query_x)
        _check_outputs(name, outputs, (2, query_x.shape[1], way))


def _check_outputs(name: str, outputs: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(outputs.shape) != expected:
        raise CheckFailed(
            f"{name}: predict gave {list(outputs.shape[1:])} for a task, not {list(expected[1:])}",
            "return one row for each query and one column for each class",
        )
    if not outputs.dtype.is_floating_point:
        raise CheckFailed(f"{name}: outputs are {outputs.dtype}", "return logits as float32")
    if not outputs.isfinite().all():
        raise CheckFailed(
            f"{name}: some outputs are NaN or infinite",
            "look for divisions by zero, logarithms of zero, and steps that are too large",
        )


def inputs(subject: Subject) -> None:
    """`adapt`, `predict` and `meta_step` leave the tensors they are given as they are."""
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
    """Generators, modes and settings of the process are afterwards what they were."""
    tasks = subject.tasks(1)
    # What libraries set up when they are first used is not the learner's doing.
    with process_state.watched():
        ask(subject.train(subject.build(), updates=2), tasks.support, tasks.query.x)
    # Building and training may draw from the global generators: the harness seeds them before.
    with process_state.watched(generators=False) as found:
        learner = subject.train(subject.build(), updates=2)
    changed = list(found)
    seed_everything(_ODD_SEED)  # not the one that a plugin would set again
    with process_state.watched() as found:
        batched = as_batched(learner)
        batched.predict(batched.adapt(tasks.support), tasks.query.x)
    changed += [name for name in found if name not in changed]
    if changed:
        raise CheckFailed(
            f"it changes {', '.join(changed)} (put back)",
            "put back what you change; draw from self.task.generator(), made anew in each call",
        )


def devices(subject: Subject) -> None:
    """Every device there is gives what the CPU gives."""
    if not torch.accelerator.is_available():
        raise NotChecked("no accelerator here")
    found = torch.accelerator.current_accelerator()
    assert found is not None
    kind = found.type
    tasks, here = subject.tasks(4), subject.trained()
    there = subject.build(device=kind)
    learner_state.load_state_dict(there, learner_state.state_dict(here))
    cudnn = torch.backends.cudnn
    flags = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    with cudnn.flags(**flags, allow_tf32=False):  # which moves outputs by more than rounding
        moved = difference(
            ask(here, tasks.support, tasks.query.x), ask(there, tasks.support, tasks.query.x)
        )
    if moved:
        raise CheckFailed(f"{kind} and cpu differ: {moved}", "make every tensor on task.device")
