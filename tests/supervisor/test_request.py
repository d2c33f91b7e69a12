"""From what a user asks for to cells: names, globs, sweeps, numbers and `bench.toml`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metabench.cell.cell import training_shape
from metabench.errors import NothingToRun, UsageError
from metabench.plugins.registry import Plugins, load_plugins
from metabench.plugins.sources import PluginSources
from metabench.suites.builtin_suites import EMBEDDED
from metabench.suites.suite import Suite
from metabench.supervisor.request import (
    Request,
    as_stored,
    find_algorithms,
    find_device,
    find_suites,
    read_config,
    request_cells,
)

BUILTIN = PluginSources(restrict=("builtin",))


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(BUILTIN)


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
            "budget 'tasks=99999999999999999': ask for at most 9007199254740992 tasks",
        ),
        ({"budget": "seconds=1e300"}, "budget 'seconds=1e300': ask for at most 1000000000 seconds"),
        ({"device": "gpu"}, "device 'gpu' is not available here; there is cpu"),
        ({"shard": "3/2"}, "shard '3/2': write i/n with 1 <= i <= n, e.g. 1/4"),
        ({"shard": "2"}, "shard '2': write i/n"),
        ({"shard": "0/2"}, "shard '0/2': write i/n"),
        ({"seeds": 0}, "seeds=0: ask for at least 1"),
        ({"seeds": -(10**400)}, "seeds=-1000"),
        ({"seeds": 10**6}, "seeds=1000000: ask for at most 100000"),
        ({"jobs": 10**5}, "jobs=100000: ask for at most 10000"),
        ({"jobs": 0}, "jobs=0: ask for at least 1"),
        ({"threads": -1}, "threads=-1: ask for at least 0"),
        ({"time_limit": -0.5}, "time_limit=-0.5: ask for at least 0"),
        ({"memory_limit": -1.0}, "memory_limit=-1: ask for at least 0"),
        ({"checkpoint_every": float("inf")}, "checkpoint_every=inf: ask for at least 0"),
        ({"time_limit": float("nan")}, "time_limit=nan: ask for at least 0"),
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


def test_results_of_trial_runs_go_elsewhere() -> None:
    assert Request().results_folder == Path("results-smoke")
    assert Request(budget="standard").results_folder == Path("results")
    assert Request(results="here").results_folder == Path("here")


def test_the_processor_is_always_there_and_auto_finds_something() -> None:
    assert find_device("cpu") == "cpu"
    assert find_device(find_device("auto")) == find_device("auto")


def test_the_code_of_every_cell_is_that_of_its_algorithm_and_its_suite(plugins: Plugins) -> None:
    request = Request(
        suites=["digits-5w1s", "glyphs-5w1s"], algorithms=["protonet[lr=1|2]", "chance"]
    )
    first, second, chance, glyphs, *_ = request_cells(request, plugins)
    assert first.code is not None
    assert first.code == second.code
    assert len({first.code.digest, chance.code.digest, glyphs.code.digest}) == 3
    assert first.configured.provider == "builtin"


def image_folder(path: Path, classes: int = 4) -> Path:
    """Images of single grey values, two in each class."""
    for c in range(classes):
        (path / str(c)).mkdir(parents=True)
        for i in range(2):
            image = np.full((8, 8), 60 * c + i, dtype=np.uint8)
            Image.fromarray(image).save(path / str(c) / f"{i}.png")
    return path


def test_an_address_of_a_folder_is_a_suite(plugins, tmp_path: Path) -> None:
    images = image_folder(tmp_path / "shades")
    address = f"folder:{images}[way=4,query=1,split=novel]"
    (suite,) = find_suites([address, address], plugins, str(tmp_path / "data"))
    assert suite.name.startswith("folder-shades-4w1s-")
    assert suite.address == address


def test_two_suites_of_one_name_are_refused(plugins, tmp_path: Path) -> None:
    addresses = [
        f"folder:{image_folder(tmp_path / where / 'shades')}[way=4,query=1,split=novel]"
        for where in ("here", "there")
    ]
    with pytest.raises(UsageError, match=r"both called folder-shades-4w1s-\w{6}: folder:.*here"):
        find_suites(addresses, plugins, None)


class TestConfig:
    @pytest.fixture
    def read(self, tmp_path: Path):
        def read(text: str | bytes) -> dict[str, Any]:
            file = tmp_path / "bench.toml"
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            return read_config(file)

        return read

    def test_keys_are_those_of_a_request(self, read) -> None:
        values = read(
            """
            suites = ["digits-*"]
            algorithms = ["protonet", "maml[lr=0.1|1]"]
            seeds = 3
            budget = "standard"
            time_limit = 60  # a whole number will do
            allocator = false
            """
        )
        request = Request(**values)
        assert request.suites == ["digits-*"]
        assert (request.seeds, request.time_limit, request.allocator) == (3, 60, False)
        assert request.results_folder == Path("results")
        assert request.device == "cpu"

    def test_an_empty_file_changes_nothing(self, read) -> None:
        assert read("") == {}

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ('suits = ["a"]', "unknown key in {file} 'suits': did you mean 'suites'?"),
            ("[run]\nseeds = 1", "unknown key in {file} 'run'"),
            ('suites = "digits"', "{file}: suites = 'digits', write a list of strings"),
            ('results = ""', "{file}: results has an empty text: leave it out"),
            ('plugins_dirs = [""]', "{file}: plugins_dirs has an empty text: leave it out"),
            (f"seeds = {'[' * 100_000}", "{file} is not valid: its values are nested too deeply"),
            ("suites = 5", "{file}: suites = 5, write a list of strings"),
            ("suites = [5]", "{file}: suites = [5], write a list of strings"),
            ('results = "a\\u0000b"', "{file}: results = 'a\\x00b', write a string in quotes"),
            ('seeds = "3"', "{file}: seeds = '3', write a whole number"),
            ("seeds = 3.0", "{file}: seeds = 3.0, write a whole number"),
            ("seeds = true", "{file}: seeds = True, write a whole number"),
            ("time_limit = false", "{file}: time_limit = False, write a number"),
            ("allocator = 1", "{file}: allocator = 1, write true or false"),
            ("budget = 5", "{file}: budget = 5, write a string in quotes"),
            ("seeds =", "{file} is not valid TOML: "),
            (b'budget = "\xff"', "{file} is not valid TOML: "),
        ],
    )
    def test_a_wrong_key_or_type_is_reported_in_one_line(self, read, tmp_path, text, error) -> None:
        with pytest.raises(UsageError) as caught:
            read(text)
        assert str(caught.value).startswith(error.format(file=tmp_path / "bench.toml"))
        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot read .*none\.toml: No such file"):
            read_config(tmp_path / "none.toml")


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


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ("conv4[pool=false]", "conv4[bn=support,pool=false]"),
        ("conv4[bn=episode]", "conv4[bn=episode]"),
        ("conv4", "conv4[bn=support]"),
        ("cnn", "cnn"),
    ],
)
def test_options_of_a_backbone_change_nothing_else_about_it(
    given: str, resolved: str, plugins: Plugins
) -> None:
    (found,) = find_algorithms([f"maml[backbone={given}]"], plugins)
    assert found.params["backbone"] == resolved


@pytest.mark.parametrize("text", ["²/³", "1/" + "9" * 5000, "0/2", "3/2", "1/2/3", "-1/2"])
def test_a_shard_that_is_no_part_is_refused(plugins, text: str) -> None:
    with pytest.raises(UsageError, match="write i/n with 1 <= i <= n"):
        request_cells(Request(algorithms=["chance"], shard=text), plugins)


def test_numbers_of_numpy_are_taken_as_plain_ones() -> None:
    request = Request(seeds=np.int64(3), time_limit=np.float32(2.5))
    assert (type(request.seeds), type(request.time_limit)) == (int, float)
    with pytest.raises(UsageError, match="seeds='3': write a whole number"):
        Request(seeds="3")


def test_different_arrays_of_one_name_are_refused_in_one_run(plugins, tmp_path: Path) -> None:
    y = np.arange(10).repeat(4)
    x = 5 * np.arange(40, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    one, other, same = (
        Suite.from_arrays(images, y, name="mine", way=2, query=1, episodes=5, data_root=tmp_path)
        for images in (x, 255 - x, x)
    )
    assert find_suites([one, same], plugins, None) == [one]
    with pytest.raises(UsageError, match="two suites are both called mine-2w1s"):
        find_suites([one, other], plugins, None)


def test_an_algorithm_is_looked_up_in_results_as_run_names_it(plugins) -> None:
    def stored(text: str) -> str:
        return as_stored(text, plugins, "classification")

    written = "maml[backbone=conv4[bn=support,pool=false]]"
    assert stored("maml[backbone=conv4[pool=FALSE]]") == written
    assert stored("maml[inner_lr=4e-1]") == "maml[inner_lr=0.4]"
    assert stored("gone[x=1]") == "gone[x=1]"
