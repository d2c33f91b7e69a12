from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import metabench_plugins
from metabench import Algorithm, BatchedLearner
from metabench.cell.budget import PRESETS
from metabench.learner import load

ALGORITHMS = list(metabench_plugins.metabench_algorithms())
parametrize = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)


@parametrize
def test_declared_defaults_are_those_of_the_learner(algorithm: Algorithm) -> None:
    _, *params = inspect.signature(load(algorithm.build)).parameters.values()
    assert {p.name: p.default for p in params} == dict(algorithm.params)


@parametrize
def test_defaults_for_regression_are_of_the_same_types(algorithm: Algorithm) -> None:
    there = algorithm.on("regression")
    assert there.params.keys() == algorithm.params.keys()
    for name, value in there.params.items():
        assert type(value) is type(algorithm.params[name])
    budgets = [there.budgets[preset] for preset in PRESETS]
    assert budgets == sorted(set(budgets))


@parametrize
def test_a_learner_has_at_most_one_way_to_be_trained(algorithm: Algorithm) -> None:
    learner = load(algorithm.build)
    assert not (hasattr(learner, "fit") and hasattr(learner, "meta_step"))


@parametrize
def test_every_preset_has_a_budget_and_a_larger_one_is_more(algorithm: Algorithm) -> None:
    budgets = [algorithm.budgets[preset] for preset in PRESETS]
    assert budgets == sorted(set(budgets))


@parametrize
def test_every_file_opens_with_what_it_is(algorithm: Algorithm) -> None:
    learner = load(algorithm.build)
    assert learner.__doc__ != BatchedLearner.__doc__
    module = inspect.getmodule(learner)
    assert module is not None
    if algorithm.reference:
        author = algorithm.reference.split()[0]
        assert author in (module.__doc__ or "")


def test_floors_are_tagged() -> None:
    floors = {a.name for a in ALGORITHMS if "floor" in a.tags}
    assert floors == {"chance", "pixel-1nn", "untrained"}


def test_the_catalogue_imports_no_torch() -> None:
    code = (
        "import sys, metabench_plugins as p; names = [a.name for a in p.metabench_algorithms()];"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules or not names)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
