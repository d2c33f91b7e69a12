"""The digest of a catalogue entry counts what it names, holds, declares and is given."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plugin_code import BUILD, code_of, digest_of, edit, write

from metabench import Algorithm, Backbone, TrainingEpisodes, UsageError
from metabench.plugins import code_digest, modules
from metabench.plugins.code_digest import Code, cell_code
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.plugins.staleness import changes


@pytest.fixture
def single(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin in a single file, with a helper."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    plugin = """
        import metabench, plug_nearby

        def build(task):
            return plug_nearby.WIDTH

        def other(task):
            return 1

        @metabench.hookimpl
        def metabench_algorithms():
            yield metabench.Algorithm("alone", build=build, files=["weights.bin"])
            yield metabench.Algorithm("other", build=other)
            yield metabench.Algorithm("typed", build=lambda task: plug_nearby.WIDTH)
    """
    write(tmp_path, {"plugin.py": plugin, "plug_nearby.py": "WIDTH = 1\n", "weights.bin": "w"})
    yield tmp_path / "plugin.py"
    forget_plugin_files()


def forget_plugin_files() -> None:
    """Let other files of the same names be loaded in this process."""
    for name in [*sys.modules]:
        if name == "plug_nearby" or name.startswith(modules.FILE_PREFIX):
            del sys.modules[name]


def single_code(file: Path, name: str) -> Code:
    plugins = load_plugins(PluginSources(plugins=(str(file),), restrict=()))
    assert not plugins.warnings
    return cell_code(plugins, name, plugins.algorithms[name].spec.params)


def test_a_single_file_the_helpers_next_to_it_and_the_files_it_declares(single: Path) -> None:
    before = [single_code(single, name) for name in ("alone", "other", "typed")]
    assert "plug_nearby:WIDTH" in before[0].definitions
    edit(single.with_name("plug_nearby.py"), "1", "2")
    assert single_code(single, "alone").digest != before[0].digest
    assert single_code(single, "other") == before[1]
    assert single_code(single, "typed").digest != before[2].digest
    edit(single.with_name("plug_nearby.py"), "2", "1")
    assert single_code(single, "alone") == before[0]
    single.with_name("weights.bin").write_text("other")
    changed = single_code(single, "alone")
    assert changed.digest != before[0].digest
    assert changed.files.keys() == {"weights.bin"}
    assert changes(before[0].definitions, changed.definitions) == ["file:weights.bin"]


@pytest.mark.parametrize(
    "line",
    ["from plug_helpers import rates as r", "import plug_helpers.rates as r"],
)
def test_helpers_in_a_folder_without_init_count(single: Path, line: str) -> None:
    folder = single.parent / "plug_helpers"
    write(folder, {"rates.py": "RATE = 1\n"})
    edit(single, "import metabench, plug_nearby\n", f"import metabench, plug_nearby\n{line}\n")
    edit(single, "return plug_nearby.WIDTH", "return plug_nearby.WIDTH, r.RATE")
    before = single_code(single, "alone")
    edit(folder / "rates.py", "1", "2")
    assert single_code(single, "alone").digest != before.digest


def test_files_next_to_an_installed_file_are_not_its_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    write(
        folder,
        {
            "plug_installed.py": "import plug_neighbour\nlearner = plug_neighbour.X\n",
            "plug_neighbour.py": "X = 1\n",
        },
    )
    monkeypatch.syspath_prepend(folder)
    origin = folder / "plug_installed.py"
    before = [digest_of("plug_installed:learner"), digest_of("absent:learner", origin)]
    edit(folder / "plug_neighbour.py", "1", "2")
    assert [digest_of("plug_installed:learner"), digest_of("absent:learner", origin)] == before
    edit(origin, ".X", ".Y")
    after = [digest_of("plug_installed:learner"), digest_of("absent:learner", origin)]
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_single_file_has_the_same_digest_in_every_folder(single: Path, tmp_path: Path) -> None:
    before = single_code(single, "alone")
    moved = shutil.copytree(tmp_path, tmp_path / "elsewhere") / "plugin.py"
    forget_plugin_files()
    after = single_code(moved, "alone")
    assert before.definitions.items() ^ after.definitions.items() == set()
    assert after == before


def test_a_file_that_a_parameter_names_counts_by_content(site: Path, tmp_path: Path) -> None:
    weights = [tmp_path / name for name in ("a.bin", "b.bin")]
    for file in weights:
        file.write_text("same")
    spec = Algorithm("mine", build=BUILD, params={"weights": ""}, files=["weights"])
    found = [code_of(spec, params={"weights": str(file)}) for file in weights]
    assert found[0].digest == found[1].digest
    assert found[0].files == found[1].files
    assert len(found[0].files["weights"]) == 64
    assert code_of(spec).files == {}  # nothing is named: nothing is read
    weights[1].write_text("other")
    assert code_of(spec, params={"weights": str(weights[1])}).digest != found[0].digest
    with pytest.raises(UsageError, match=r"cannot read .*c\.bin, which mine reads: No such file"):
        code_of(spec, params={"weights": str(tmp_path / "c.bin")})


def test_a_file_that_nobody_declares_counts_if_a_parameter_names_it(
    site: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = Algorithm("mine", build=BUILD, params={"weights": "none", "body": ""})
    params = {"weights": "last.pt", "body": "x" * 5000}
    before = code_of(spec, params=params)
    file = tmp_path / "last.pt"
    found = []
    for content in "1", "2":
        file.write_text(content)
        found.append(code_of(spec, params=params))
    assert before.files == {}
    assert [set(code.files) for code in found] == [{"weights"}, {"weights"}]
    assert len({before.digest, *(code.digest for code in found)}) == 3
    file.unlink()
    assert code_of(spec, params=params) == before


@pytest.mark.parametrize("declared", [False, True])
def test_a_folder_that_a_parameter_names_counts_by_its_files(
    site: Path, tmp_path: Path, declared: bool
) -> None:
    spec = Algorithm("mine", build=BUILD, params={"data": ""}, files=["data"] * declared)
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        write(folder, {"inner/x.txt": "1", "y.txt": "2"})
    found = [code_of(spec, params={"data": str(folder)}) for folder in folders]
    assert found[0] == found[1]
    assert len(found[0].files["data"]) == 64
    (folders[1] / "inner" / "x.txt").write_text("3")
    after = code_of(spec, params={"data": str(folders[1])})
    assert changes(found[1].definitions, after.definitions) == ["file:data"]


def test_a_folder_counts_neither_as_a_backbone_nor_around_the_working_folder(
    site: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "conv4").mkdir()
    monkeypatch.chdir(tmp_path)
    spec = Algorithm("mine", build=BUILD, params={"backbone": "conv4", "encoder": ""})
    for encoder in "conv4", ".", "..", str(tmp_path), "":
        code = code_of(spec, tmp_path / "plugin.py", params={"encoder": encoder})
        assert code.files == {}


def test_a_folder_that_is_named_in_code_does_not_count(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text("""
import metabench
def build(task):
    return open("data.d")
@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("reader", build=build)
""")
    (tmp_path / "data.d").mkdir()
    assert single_code(plugin, "reader").files == {}


def test_a_pipe_that_a_parameter_names_is_not_read(site: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pt"
    os.mkfifo(pipe)
    named = {"weights": str(pipe)}
    assert code_of(Algorithm("mine", build=BUILD, params={"weights": ""}), params=named).files == {}
    declared = Algorithm("mine", build=BUILD, params={"weights": ""}, files=["weights"])
    with pytest.raises(UsageError, match=r"pipe.pt, which mine reads: this is not a regular file"):
        code_of(declared, params=named)


def test_a_file_that_a_constant_in_the_code_names_counts(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text("""
import metabench
from pathlib import Path
def build(task):
    return Path(__file__).with_name("means.npy").read_bytes()
@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("reader", build=build)
""")
    digests = set()
    for content in "1", "2":
        (tmp_path / "means.npy").write_text(content)
        (tmp_path / "other.npy").write_text(content)  # not named
        code = single_code(plugin, "reader")
        assert code.files.keys() == {"means.npy"}
        digests.add(code.digest)
    assert len(digests) == 2


def test_a_file_that_only_metabench_names_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin = tmp_path / "plugin.py"
    plugin.write_text("""
import metabench
import metabench.supervisor.environment
build = [lambda task: None][0]  # all of this module counts, and what it imports
@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("reader", build=build)
""")
    before = single_code(plugin, "reader")
    (tmp_path / "leaderboard.md").write_text("as metabench writes it")
    assert single_code(plugin, "reader") == before


def test_the_files_of_a_backbone_count(site: Path, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_text("1")
    backbone = Backbone("body", build=BUILD, files=["w.bin"])
    spec = Algorithm("mine", build=BUILD, params={"backbone": "body[width=3]"})
    before = code_of(spec, tmp_path / "plugin.py", (backbone,))
    (tmp_path / "w.bin").write_text("2")
    assert code_of(spec, tmp_path / "plugin.py", (backbone,)).digest != before.digest


def test_files_of_an_algorithm_and_its_backbone_count_each_in_its_place(
    site: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("a.bin", "b.bin", "c.bin")]
    for k, file in enumerate(files):
        file.write_text(str(k))
    backbone = Backbone("body", build=BUILD, params={"weights": "none.bin"}, files=["weights"])
    spec = Algorithm(
        "mine", build=BUILD, params={"weights": "", "backbone": ""}, files=["weights", "b.bin"]
    )

    def found() -> Code:
        params = {"weights": str(files[0]), "backbone": f"body[weights={files[2]}]"}
        return code_of(spec, tmp_path / "plugin.py", (backbone,), params=params)

    before = found()
    assert before.files.keys() == {"weights", "b.bin", "body:weights"}
    files[0].write_text("1")
    files[1].write_text("0")
    assert found().digest != before.digest  # the same contents, swapped
    files[0].write_text("0")
    files[1].write_text("1")
    assert found() == before
    files[2].write_text("3")
    assert changes(before.definitions, found().definitions) == ["file:body:weights"]


def test_files_count_of_a_backbone_that_another_parameter_names(site: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.bin"
    weights.write_text("1")
    backbone = Backbone("body", build=BUILD, params={"weights": ""}, files=["weights"])
    spec = Algorithm("mine", build=BUILD, params={"encoder": "", "backbone": 0})
    params = {"encoder": f"body[weights={weights}]", "backbone": 3}
    before = code_of(spec, backbones=(backbone,), params=params)
    weights.write_text("2")
    assert code_of(spec, backbones=(backbone,), params=params).digest != before.digest


@pytest.mark.parametrize("files", ["weights", [3]])
def test_files_are_a_list_of_texts(files: object) -> None:
    with pytest.raises(UsageError, match="write a list of names or paths"):
        Algorithm("mine", build="x:y", files=files)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"params": {"lr": 0.2}}, {"budgets": {"smoke": 3}}, {"training": TrainingEpisodes(way=20)}],
)
def test_the_catalogue_entry_counts(change: dict[str, object]) -> None:
    spec = Algorithm("mine", build="no_such_module:build", params={"lr": 0.1})
    changed = code_of(replace(spec, **change))
    assert changed.digest != digest_of(spec)
    assert changes(code_of(spec).definitions, changed.definitions) == ["catalogue:mine"]


def test_what_the_catalogue_says_for_readers_does_not_count() -> None:
    spec = Algorithm("mine", build="no_such_module:build")
    assert digest_of(replace(spec, reference="a page", tags=frozenset({"x"}))) == digest_of(spec)


def test_where_a_module_is_missing_all_of_the_plugins_file_counts(tmp_path: Path) -> None:
    origin = tmp_path / "plugin.py"
    origin.write_text("X = 1\n")
    before = digest_of("no_such_module:build", origin)
    origin.write_text("X = 2\n")
    assert digest_of("no_such_module:build", origin) != before


def test_a_partial_is_the_function_inside_and_what_it_is_given() -> None:
    def build(task: object, width: int, network: object = None) -> None: ...

    def digest(*args: object, **given: object) -> str:
        return digest_of(Algorithm("mine", build=functools.partial(build, *args, **given)))

    found = [digest(width=3), digest(width=4), digest(3), digest(width=3, network=dict)]
    assert len(set(found)) == len(found)
    assert digest(width=3) == found[0]
    nested = functools.partial(functools.partial(build, width=3), network=dict)
    assert digest_of(Algorithm("mine", build=nested)) != found[0]
    assert digest(network=object()) == digest(network=object())  # in every process


HELD = (
    "make(3)",
    "Factory(3)",
    "Factory(3).build",
    "sub(3).wide",
    "functools.partial(Factory(0), width=Width(3))",
    "functools.partial(function, widths=[Width(3)])",
    "functools.partial(function, inner=make(3))",
)


@pytest.mark.parametrize("bound", [False, True])
def test_what_objects_hold_counts_by_the_module_that_made_them(bound: bool, tmp_path: Path) -> None:
    text = """
        import functools

        import metabench


        class Width:
            def __init__(self, width): ...


        class Factory:
            def __init__(self, width): ...

            def build(self, task): ...

            def __call__(self, task, **given): ...


        def make(width):
            def build(task):
                return width

            return build


        def sub(width):
            class Sub:
                @classmethod
                def wide(cls, task):
                    return width

            return Sub


        def function(task, **given): ...


        def __getattr__(name):  # it has every name, but is not all of the module
            raise AttributeError(name)


        MADE

        @metabench.hookimpl
        def metabench_algorithms():
            for number, build in enumerate([BUILDS]):
                yield metabench.Algorithm(f"held-{number}", build=build)
            yield metabench.Algorithm("plain", build=function)
    """
    builds = ("BOUND",) if bound else HELD
    made = "BOUND = make(3)\n" if bound else ""
    file = tmp_path / "holding.py"
    text = textwrap.dedent(text).replace("MADE", made).replace("BUILDS", ", ".join(builds))
    file.write_text(text)

    def found() -> list[str]:
        plugins = load_plugins(PluginSources(plugins=(str(file),), restrict=()))
        names = [*(f"held-{number}" for number in range(len(builds))), "plain"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(code_digest, "ROOTS", ())
            return [cell_code(plugins, name, {}).digest for name in names]

    *before, plain = found()
    file.write_text(f"# a comment\n{text}")
    assert found() == [*before, plain]
    file.write_text(text.replace("(3)", "(4)"))
    *after, now = found()
    for build, old, new in zip(builds, before, after, strict=True):
        assert old != new, build
    # A function that is called on import may change anything, so its call counts for both.
    assert (now == plain) == (not bound)


@pytest.mark.parametrize("odd", [{(1, 2): 3}, {1: 2, "a": 3}, [[]]])
def test_arguments_that_json_cannot_express_are_no_error(odd: Any) -> None:
    if odd == [[]]:
        odd[0].append(odd)  # contains itself
    build = functools.partial(replace, odd=odd)
    assert digest_of(Algorithm("mine", build=build)) == digest_of(Algorithm("mine", build=build))


def test_paths_next_to_the_plugin_count_without_its_folder(tmp_path: Path) -> None:
    def digest(folder: str) -> str:
        build = functools.partial(replace, weights=tmp_path / folder / "weights.npz")
        return digest_of(Algorithm("mine", build=build), tmp_path / folder / "my.py")

    assert digest("one") == digest("other")


def test_a_backbone_counts_whoever_names_it(site: Path) -> None:
    write(site / "plug_pkg", {"body.py": "def body(shape):\n    return 1\n"})
    body = Backbone("a-body", build="plug_pkg.body:body")
    text = "def learner(task):\n    return task.backbone('a-body[width=3]')\n"
    write(site / "plug_pkg", {"asks.py": text})
    given = Algorithm("mine", build=BUILD, params={"encoder": "a-body"})
    inside = Algorithm("mine", build=BUILD, params={"encoder": "wrapped[inner=a-body]"})
    partial = Algorithm("mine", build=functools.partial(replace, encoder="a-body"))
    asking = Algorithm("mine", build="plug_pkg.asks:learner")
    found = []
    for spec in (given, inside, partial, asking):
        found.append(digest_of(spec, site / "plug_pkg" / "asks.py", (body,)))
    edit(site / "plug_pkg" / "body.py", "1", "2")
    for spec, before in zip((given, inside, partial, asking), found, strict=True):
        assert digest_of(spec, site / "plug_pkg" / "asks.py", (body,)) != before


def test_a_built_in_backbone_counts_where_a_learner_names_it(site: Path) -> None:
    text = """
        class Learner:
            def __init__(self, task, body="cnn"):
                self.body = task.backbone(body), task.backbone("mlp[hidden=3]")
    """
    write(site / "plug_pkg", {"asks.py": text})
    spec = Algorithm("mine", build="plug_pkg.asks:Learner")
    given = replace(spec, params={"body": "conv4"})
    counted = ("catalogue:cnn", "catalogue:conv4", "catalogue:mlp")
    for entry, expected in ((spec, (True, False, True)), (given, (False, True, True))):
        definitions = code_of(entry).definitions
        assert tuple(name in definitions for name in counted) == expected


def test_a_learner_typed_at_a_prompt_has_a_digest() -> None:
    code = """
        from metabench.plugins.code_digest import cell_code
        from metabench.plugins.sources import PluginSources
        from metabench.plugins.registry import Provided, load_plugins
        from metabench import Algorithm

        class Typed: ...
        class Other: ...

        def digest(build):
            plugins = load_plugins(PluginSources(restrict=()))
            algorithm = Algorithm("a", build=build)
            plugins.algorithms["a"] = Provided(algorithm, "test", None, "__main__")
            return cell_code(plugins, "a", {}).digest

        assert digest(Typed) != digest(Other)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
