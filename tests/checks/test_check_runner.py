"""Every check has a learner that fails it first; honest learners pass all checks."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from sentinels import nonconforming
from torch import Tensor

from metabench import Algorithm, Learner, Support, TaskSpec
from metabench.cell.cell import configure
from metabench.checks.check_names import CHECKS, Outcome
from metabench.checks.check_runner import run_battery, run_check
from metabench.checks.checked_algorithm import Subject
from metabench.learner import Kind
from metabench.plugins.registry import load_plugins
from metabench_plugins import metabench_algorithms

# The advice if no line of the plugin is in the traceback.
_LOOK = "look at {place}"

RAISES = """
import metabench

class Raises(metabench.Learner):
    def adapt(self, support):
        raise ValueError

    def predict(self, state, query_x): ...
"""


def subject(algorithm: Algorithm, kind: Kind = "classification", **given: str) -> Subject:
    configured = configure(algorithm.on(kind), given, provider="test")
    return Subject(configured, kind, load_plugins(), None)


def failures(algorithm: Algorithm, kind: Kind = "classification", **given: str) -> list[Outcome]:
    found = list(run_battery(subject(algorithm, kind, **given)))
    assert [outcome.check for outcome in found] == list(CHECKS)
    return [outcome for outcome in found if outcome.status == "failed"]


def statuses(checks: Sequence[str], of: Subject) -> dict[str, str]:
    return {check: run_check(check, of).status for check in checks}


def sentinel(kind: type[Learner], **options: object) -> Algorithm:
    return Algorithm("sentinel", build=kind, budgets={"smoke": 5}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    [
        nonconforming.Honest,
        nonconforming.HonestBatched,
        pytest.param(nonconforming.Trained, marks=pytest.mark.slow),
    ],
)
def test_an_honest_learner_passes(kind: type[Learner]) -> None:
    assert failures(sentinel(kind)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "check"), nonconforming.CULPRITS.items(), ids=lambda v: getattr(v, "__name__", v)
)
def test_a_culprit_is_found_by_its_check_first(kind: type[Learner], check: str) -> None:
    if check == "devices" and not torch.accelerator.is_available():
        pytest.skip("needs an accelerator")
    culprit = sentinel(kind, **nonconforming.OPTIONS.get(kind, {}))
    first = next(o for o in run_battery(subject(culprit)) if o.status == "failed")
    assert first.check == check, first
    assert first.message
    assert first.advice


def test_every_check_has_a_culprit_except_the_one_that_only_notes() -> None:
    assert set(CHECKS) - set(nonconforming.CULPRITS.values()) == {"relabelling"}


@pytest.mark.parametrize(
    ("kind", "where"), [(nonconforming.ShotsFirst, "5-way 5-shot"), (nonconforming.OneClass, "20-")]
)
def test_a_learner_that_works_only_at_5_way_1_shot_is_found(
    kind: type[Learner], where: str
) -> None:
    of = subject(sentinel(kind))
    found = run_check("learns", of)
    assert (found.status, found.message.startswith(where)) == ("failed", True)
    assert statuses(["shapes", "label-order", "support-matters"], of) == {
        "shapes": "passed",
        "label-order": "passed",
        "support-matters": "passed",
    }


def test_five_shots_that_help_less_than_one_are_noted() -> None:
    found = run_check("learns", subject(sentinel(nonconforming.LastShots)))
    assert found.status == "noted"
    assert found.message.startswith("five shots help less than one: accuracy ")


def test_regression_that_learns_nothing_from_its_support_set_is_found() -> None:
    algorithm = sentinel(nonconforming.AlwaysOne, tasks={"regression"})
    of = subject(algorithm, "regression")
    assert statuses(["shapes", "learns"], of) == {"shapes": "passed", "learns": "passed"}
    found = run_check("support-matters", of)
    assert (found.status, found.message) == (
        "failed",
        "with the support set of another task, its errors are no larger",
    )


def test_rounding_in_one_comparison_does_not_end_the_check() -> None:
    found = run_check("repeatable", subject(sentinel(nonconforming.Drifts)))
    assert found.status == "failed", found
    assert found.message.startswith("answers differ after a task with NaN in it: ")


def test_rounding_does_not_hide_that_seeds_matter() -> None:
    class Rounds(nonconforming.Honest):
        def __init__(self, task: TaskSpec) -> None:
            super().__init__(task)
            self.factor = 1 + task.seed + 1e-6 * random.SystemRandom().random()

        def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
            return self.factor * super().predict(state, query_x)

    found = run_check("deterministic", subject(sentinel(Rounds, deterministic=True)))
    assert found.message.startswith("another seed gives other answers")


def test_rounding_alone_is_noted() -> None:
    class Rounds(nonconforming.Drifts):
        def adapt(self, support: Support) -> Tensor:
            return super().adapt(Support(support.x.nan_to_num(), support.y))

    found = run_check("repeatable", subject(sentinel(Rounds)))
    assert (found.status, found.message) == (
        "noted",
        "answers depend on the order of tasks, by rounding only",
    )


@pytest.mark.parametrize("check", ["repeatable", "query-order", "one-query", "relabelling"])
def test_outputs_of_half_precision_can_be_compared(check: str) -> None:
    found = run_check(check, subject(sentinel(nonconforming.HalfPrecision)))
    assert found.status == "passed", found


@pytest.mark.parametrize("kind", [nonconforming.WrongShape, nonconforming.SeedsTorch])
def test_a_culprit_is_found_at_once(kind: type[Learner]) -> None:
    first = next(o for o in run_battery(subject(sentinel(kind))) if o.status == "failed")
    assert first.check == nonconforming.CULPRITS[kind]


def test_declared_transduction_is_no_failure() -> None:
    tagged = sentinel(nonconforming.NormalisesByBatch, tags={"transductive"})
    assert run_check("one-query", subject(tagged)).status == "noted"


@pytest.mark.slow
def test_declared_transduction_passes_the_other_checks() -> None:
    assert failures(sentinel(nonconforming.NormalisesByBatch, tags={"transductive"})) == []


def test_a_floor_need_not_learn() -> None:
    of = subject(sentinel(nonconforming.WrongSign, tags={"floor"}))
    found = statuses(["learns", "label-order", "support-matters"], of)
    assert list(found.values()) == ["skipped", "passed", "passed"]


def test_declared_first_order_is_no_failure() -> None:
    (maml,) = (a for a in metabench_algorithms() if a.name == "maml")
    found = run_check("gradient", subject(maml, first_order="true"))
    assert found.status == "skipped"
    assert found.message.startswith("first_order=true")


@pytest.mark.parametrize(("tasks", "status"), [(60, "passed"), (1000, "failed")])
def test_memory_that_stops_growing_is_not_a_leak(tasks: int, status: str) -> None:
    class FillsACache(nonconforming.KeepsEverything):
        def adapt(self, support: Support) -> Tensor:
            state = super().adapt(support)
            del self.seen[tasks:]
            return state

    found = run_check("memory", subject(sentinel(FillsACache)))
    assert found.status == status, found


def test_changed_settings_are_restored() -> None:
    assert run_check("globals", subject(sentinel(nonconforming.SetsDtype))).status == "failed"
    assert torch.get_default_dtype() == torch.float32


def test_an_exception_is_a_failure_with_its_line() -> None:
    class Raises(nonconforming.Honest):
        def adapt(self, support: Support) -> Tensor:
            raise ZeroDivisionError("no\n  centroid")

    (found,) = failures(sentinel(Raises))
    assert (found.check, found.message) == ("shapes", "it raised ZeroDivisionError: no")
    assert re.fullmatch(r"look at .*test_check_runner\.py, line \d+", found.advice)
    assert "ZeroDivisionError" in found.traceback


@pytest.mark.parametrize(
    ("kind", "said", "advice"),
    [
        ("TakesNoTask", "build takes no task", "make the task its first argument: {place}"),
        (
            "HasNoTask",
            "HasNoTask has no task",
            "call super().__init__(task) first, in HasNoTask.__init__",
        ),
        ("CannotAdapt", "it raised TypeError: Can't instantiate abstract class *", _LOOK),
        ("FitsWithoutData", "it raised TypeError: FitsWithoutData.fit() takes 1 *", _LOOK),
        ("HasNoLoss", "meta_step returned NoneType: return the loss as one number", _LOOK),
        ("AnswersInNumPy", "predict returned ndarray, expected a torch.Tensor", _LOOK),
        ("AnswersInPairs", "predict returned tuple, expected a torch.Tensor", _LOOK),
    ],
)
def test_advice_names_the_class_of_the_plugin_and_not_metabench(
    kind: str, said: str, advice: str
) -> None:
    culprit = getattr(nonconforming, kind)
    found = run_check(nonconforming.CULPRITS[culprit], subject(sentinel(culprit)))
    assert found.status == "failed"
    assert fnmatchcase(found.message, said), found.message
    assert found.advice == advice.format(place=f"{nonconforming.__file__}, class {kind}")


@pytest.mark.parametrize(
    ("given", "said"), [(None, "NoneType"), (list(torch.zeros(100, 100)), "list")]
)
def test_a_build_that_returns_no_learner_is_named_by_its_type(given: object, said: str) -> None:
    found = run_check("build", subject(Algorithm("sentinel", build=lambda task: given)))  # type: ignore[arg-type, return-value]
    assert (found.status, found.message) == ("failed", f"build returned {said}")


def test_advice_names_the_function_until_the_class_is_known() -> None:
    def make(task: TaskSpec) -> Learner:
        return nonconforming.HasNoLoss(task)

    made = subject(Algorithm("sentinel", build=make))
    assert made.place == f"{__file__}, make"
    assert run_check("build", made).advice == f"look at {nonconforming.__file__}, class HasNoLoss"


def test_an_exception_in_a_helper_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "metabench_test_base.py").write_text(RAISES)
    (tmp_path / "metabench_test_mine.py").write_text(
        "from metabench_test_base import Raises\nclass Mine(Raises): ...\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        found = run_check(
            "shapes", subject(Algorithm("sentinel", build="metabench_test_mine:Mine"))
        )
    assert found.advice == f"look at {tmp_path / 'metabench_test_base.py'}, line 6"


@pytest.mark.parametrize("content", ["1 / 0", "import sys; sys.exit()", "Other = 1"])
def test_a_build_that_cannot_be_imported_fails_the_first_check(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "metabench_test_broken.py").write_text(content)
    algorithm = Algorithm("sentinel", build="metabench_test_broken:Mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        found = run_check("catalogue", subject(algorithm))
        sys.modules.pop("metabench_test_broken", None)
    assert found.status == "failed"
    assert found.advice == "look at the entry of sentinel"


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(metabench_algorithms()), ids=lambda a: a.name)
def test_the_built_in_algorithms_pass(algorithm: Algorithm) -> None:
    for kind in sorted(algorithm.tasks):
        assert failures(algorithm, kind) == []


@pytest.mark.slow
@pytest.mark.parametrize("check", ["globals", "memory", "one-query"])
def test_a_check_that_is_the_first_of_a_process_passes_too(check: str) -> None:
    """Settings that libraries change when they are first used are not the learner's fault."""
    code = f"""
from metabench.checks.check_runner import run_check
from metabench.checks.checked_algorithm import find_subjects
from metabench.plugins.registry import load_plugins
for name in ("pca-lr", "protonet", "meta-sgd"):
    found = run_check("{check}", find_subjects(name, load_plugins())[0])
    assert found.status == "passed", (name, found)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
