"""From a request to its cells: globs, sweeps, seeds and shards."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from metabench.cell.training_shape import training_shape
from metabench.errors import NothingToRun, UsageError
from metabench.plugins.registry import Plugins, load_plugins
from metabench.plugins.sources import PluginSources
from metabench.suites.builtin_suites import EMBEDDED
from metabench.supervisor.request import Request
from metabench.supervisor.requested_cells import request_cells


@pytest.fixture
def ask(plugins: Plugins) -> Callable[..., list[tuple[str, str, int]]]:
    """The cells of a request as (suite, algorithm, seed)."""

    def cells(**values: Any) -> list[tuple[str, str, int]]:
        found = request_cells(Request(**values), plugins)
        return [(cell.suite.name, cell.configured.address, cell.seed) for cell in found]

    return cells


def test_nothing_said_is_every_algorithm_on_the_embedded_suites(ask, plugins) -> None:
    found = ask()
    assert {suite for suite, _, _ in found} == set(EMBEDDED)
    assert {algorithm for _, algorithm, _ in found} == set(plugins.algorithms)
    assert {seed for _, _, seed in found} == {0}
    assert len(found) == len(EMBEDDED) * len(plugins.algorithms)


def test_globs_match_names(ask) -> None:
    found = ask(suites=["digits-5w*"], algorithms=["p*-lr", "proto???"])
    assert found == [
        ("digits-5w1s", "pca-lr", 0),
        ("digits-5w1s", "protonet", 0),
        ("digits-5w5s", "pca-lr", 0),
        ("digits-5w5s", "protonet", 0),
    ]


def test_parameters_behind_a_glob_go_to_every_match(ask) -> None:
    found = ask(suites=["digits-5w1s"], algorithms=["pro*[train_way=3]"])
    assert found == [("digits-5w1s", "protonet[train_way=3]", 0)]


def test_a_sweep_is_a_cell_for_each_combination(ask) -> None:
    found = ask(suites=["digits-5w1s"], algorithms=["pca-lr[components=20|50,C=1|2.0]"])
    assert [algorithm for _, algorithm, _ in found] == [
        "pca-lr[components=20]",
        "pca-lr[components=20,C=2.0]",
        "pca-lr",  # both are the defaults
        "pca-lr[C=2.0]",
    ]


def test_what_is_named_twice_runs_once(ask) -> None:
    once = ask(suites=["digits-5w1s"], algorithms=["protonet"])
    twice = ask(
        suites=["digits-5w1s", "digits-5w1*"],
        algorithms=["protonet", "proto*", "protonet[lr=0.001]"],
    )
    assert once == twice


def test_seeds_are_counted_from_zero_and_one_for_who_ignores_them(ask) -> None:
    found = ask(suites=["digits-5w1s"], algorithms=["chance", "pixel-1nn"], seeds=3)
    assert [(a, seed) for _, a, seed in found] == [
        ("chance", 0),
        ("chance", 1),
        ("chance", 2),
        ("pixel-1nn", 0),
    ]


def test_shards_share_the_cells(ask) -> None:
    parts = [ask(suites=["digits-*"], shard=f"{i}/3") for i in (1, 2, 3)]
    assert sorted(chain(*parts)) == sorted(ask(suites=["digits-*"]))


def test_an_empty_shard_says_so(ask) -> None:
    outcomes: list[Any] = []
    for shard in ("1/2", "2/2"):  # one of them gets the only cell there is
        try:
            outcomes.append(ask(suites=["digits-5w1s"], algorithms=["chance"], shard=shard))
        except NothingToRun as error:
            outcomes.append(str(error).replace(shard, "i/n"))
    assert sorted(outcomes, key=str) == [
        [("digits-5w1s", "chance", 0)],
        "shard i/n has no cells: nothing to run",
    ]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"suites": ["digit-5w1s"]}, "unknown suite 'digit-5w1s': did you mean 'digits-5w1s'?"),
        ({"suites": ["none-such*"]}, "unknown suite 'none-such*': known: digits-5w1s, "),
        ({"algorithms": ["protonett"]}, "unknown algorithm 'protonett': did you mean 'protonet'?"),
        (
            {"algorithms": ["protonet[backbon=conv4]"]},
            "unknown parameter of protonet 'backbon': did you mean 'backbone'?",
        ),
        (
            {"algorithms": ["protonet[backbone=conv5]"]},
            "unknown backbone 'conv5': did you mean 'conv4'?",
        ),
        (
            {"algorithms": ["protonet[backbone=conv4[chanels=8]]"]},
            "unknown parameter of conv4 'chanels': did you mean 'channels'?",
        ),
        (
            {"algorithms": ["protonet[backbone=conv4[bn=runing]]"]},
            "unknown bn of conv4 'runing': did you mean 'running'?",
        ),
        ({"algorithms": ["protonet[lr=fast]"]}, "protonet[lr=fast]: 'lr' takes float"),
        ({"algorithms": ["protonet[lr=1"]}, "cannot read 'protonet[lr=1'"),
        ({"budget": "papper"}, "unknown budget 'papper': did you mean 'paper'?"),
        (
            {"budget": "tasks=99999999999999999"},
            "budget 'tasks=99999999999999999': must be at most 9007199254740992 tasks",
        ),
        ({"budget": "seconds=1e300"}, "budget 'seconds=1e300': must be at most 1000000000 seconds"),
        ({"device": "gpu"}, "device 'gpu' is not available here; available: cpu"),
        ({"shard": "3/2"}, "shard '3/2': write i/n with 1 <= i <= n, e.g. 1/4"),
        ({"shard": "2"}, "shard '2': write i/n"),
        ({"shard": "0/2"}, "shard '0/2': write i/n"),
        ({"seeds": 0}, "seeds=0: must be at least 1"),
        ({"seeds": -(10**400)}, "seeds=-1000"),
        ({"seeds": 10**6}, "seeds=1000000: must be at most 100000"),
        ({"jobs": 10**5}, "jobs=100000: must be at most 10000"),
        ({"jobs": 0}, "jobs=0: must be at least 1"),
        ({"threads": -1}, "threads=-1: must be at least 0"),
        ({"time_limit": -0.5}, "time_limit=-0.5: must be at least 0"),
        ({"memory_limit": -1.0}, "memory_limit=-1: must be at least 0"),
        ({"checkpoint_every": float("inf")}, "checkpoint_every=inf: must be at least 0"),
        ({"time_limit": float("nan")}, "time_limit=nan: must be at least 0"),
        ({"train_on": "nosuch"}, "unknown suite 'nosuch'"),
        ({"train_on": "digits-5w*"}, "'digits-5w*' matches digits-5w1s, digits-5w5s: name one"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(ask, values: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(**{"suites": ["digits-5w1s"], **values})
    assert str(caught.value).startswith(error)
    assert "\n" not in str(caught.value)


def test_without_any_algorithm_there_is_nothing_to_run() -> None:
    nobody = load_plugins(PluginSources(restrict=()))
    with pytest.raises(NothingToRun, match="there is no algorithm to run; see metabench list"):
        request_cells(Request(), nobody)


def test_without_any_suite_there_is_nothing_to_run(ask) -> None:
    with pytest.raises(NothingToRun, match="there is no suite to run"):
        ask(suites=[])


def test_the_code_of_every_cell_is_that_of_its_algorithm_and_its_suite(plugins: Plugins) -> None:
    request = Request(
        suites=["digits-5w1s", "glyphs-5w1s"], algorithms=["protonet[lr=1|2]", "chance"]
    )
    first, second, chance, glyphs, *_ = request_cells(request, plugins)
    assert first.code is not None
    assert first.code == second.code
    assert len({first.code.digest, chance.code.digest, glyphs.code.digest}) == 3
    assert first.configured.provider == "builtin"


def test_algorithms_take_the_defaults_of_each_kind_of_suite(plugins: Plugins) -> None:
    request = Request(suites=["digits-5w1s", "sinusoid-5s"], algorithms=["maml", "maml[lr=0.01]"])
    images, other, points, _ = request_cells(request, plugins)
    assert images.configured.params["backbone"] == "conv4[bn=support]"
    assert points.configured.params["backbone"] == "mlp[init_std=0.01]"
    assert (images.configured.training.query, points.configured.training.query) == (5, 10)
    assert images.configured.address == points.configured.address == "maml"
    assert images.code.digest != points.code.digest
    assert (images.kind, points.kind) == ("classification", "regression")
    assert other.configured.params["lr"] == 0.01


def test_a_regression_task_is_one_function(plugins: Plugins) -> None:
    request = Request(suites=["sinusoid-5s"], algorithms=["maml[train_way=3]"])
    (cell,) = request_cells(request, plugins)
    material = cell.suite.open().material
    assert material is not None
    with pytest.raises(UsageError, match=r"train_way=3: a regression task is one function"):
        training_shape(cell, material)
