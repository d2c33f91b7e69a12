"""Every check has a learner that fails it, reported first; the honest ones pass all."""

from __future__ import annotations

import re

import pytest
import torch
from sentinels import nonconforming
from torch import Tensor

from metabench import Algorithm, Learner, Support
from metabench.conformance.battery import CHECKS, Outcome, run_battery
from metabench.conformance.names import NAMES
from metabench.conformance.subject import Subject
from metabench.harness.cell import configure
from metabench.learner import Kind
from metabench.plugins import load_plugins
from metabench_plugins import metabench_algorithms


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def subject(algorithm: Algorithm, kind: Kind = "classification", **given: str) -> Subject:
    configured = configure(algorithm.on(kind), given, provider="test", code="")
    return Subject(configured, kind, load_plugins(), None)


def failures(algorithm: Algorithm, kind: Kind = "classification", **given: str) -> list[Outcome]:
    found = list(run_battery(subject(algorithm, kind, **given)))
    assert [outcome.check for outcome in found] == list(CHECKS)
    return [outcome for outcome in found if outcome.status == "failed"]


def sentinel(kind: type[Learner], **options: object) -> Algorithm:
    return Algorithm("sentinel", build=kind, budgets={"smoke": 5}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind", [nonconforming.Honest, nonconforming.HonestBatched, nonconforming.Trained]
)
def test_an_honest_learner_passes(kind: type[Learner]) -> None:
    assert failures(sentinel(kind)) == []


@pytest.mark.parametrize(
    ("kind", "check"), nonconforming.CULPRITS.items(), ids=lambda v: getattr(v, "__name__", v)
)
def test_a_culprit_is_found_by_its_check_first(kind: type[Learner], check: str) -> None:
    first = next(o for o in run_battery(subject(sentinel(kind))) if o.status == "failed")
    assert first.check == check, first
    assert first.message
    assert first.advice


def test_every_check_but_those_that_need_hardware_or_only_note_has_a_culprit() -> None:
    found = set(nonconforming.CULPRITS.values())
    assert set(CHECKS) - found == {"support-matters", "devices", "relabelling"}


def test_the_names_are_those_of_the_checks() -> None:
    assert tuple(CHECKS) == NAMES


def test_knowing_classes_by_other_means_than_the_support_labels_is_found() -> None:
    """Its images carry their class: it needs no labels."""

    class Peeks(nonconforming.Honest):
        def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
            known = [truth.get(x.numpy().tobytes(), 0) for x in query_x]
            most = self.task.way - 1
            return torch.nn.functional.one_hot(
                torch.tensor(known).clamp(max=most), most + 1
            ).float()

    checked = subject(sentinel(Peeks))
    query = checked.tasks(100).query
    pairs = zip(query.x.flatten(0, 1), query.y.flatten(), strict=True)
    truth = {x.numpy().tobytes(): int(y) for x, y in pairs}
    found = {o.check: o for o in run_battery(checked) if o.status == "failed"}
    assert "knows classes by other means" in found["support-matters"].message


def test_declared_transduction_is_no_fault() -> None:
    tagged = sentinel(nonconforming.NormalisesByBatch, tags={"transductive"})
    assert failures(tagged) == []
    found = {o.check: o for o in run_battery(subject(tagged))}
    assert found["one-query"].status == "noted"


def test_a_floor_need_not_learn() -> None:
    assert failures(sentinel(nonconforming.WrongSign, tags={"floor"})) == []


def test_first_order_that_is_declared_is_no_fault() -> None:
    (maml,) = (a for a in metabench_algorithms() if a.name == "maml")
    found = {o.check: o for o in run_battery(subject(maml, first_order="true"))}
    assert found["gradient"].status == "skipped"
    assert found["gradient"].message.startswith("first_order=true")


def test_what_was_changed_is_put_back() -> None:
    failures(sentinel(nonconforming.SetsDtype))
    assert torch.get_default_dtype() == torch.float32


def test_what_a_plugin_raises_is_a_failure_with_its_place() -> None:
    class Raises(nonconforming.Honest):
        def adapt(self, support: Support) -> Tensor:
            raise ZeroDivisionError("no\n  centroid")

    (found,) = failures(sentinel(Raises))
    assert (found.check, found.message) == ("shapes", "it raised ZeroDivisionError: no centroid")
    assert re.fullmatch(r"look at .*test_battery\.py, line \d+", found.advice)
    assert "ZeroDivisionError" in found.traceback


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(metabench_algorithms()), ids=lambda a: a.name)
def test_the_built_in_algorithms_pass(algorithm: Algorithm) -> None:
    for kind in sorted(algorithm.tasks):
        assert failures(algorithm, kind) == []
