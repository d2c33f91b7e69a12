from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.plugins import registry
from metabench.plugins.modules import FILE_PREFIX
from metabench.plugins.registry import Plugins, hookspecs, load_plugins
from metabench.plugins.sources import PluginSources

GOOD = """
    import metabench

    class Learner(metabench.Learner):
        def adapt(self, support): ...
        def predict(self, state, query_x): ...

    @metabench.hookimpl
    def metabench_algorithms():
        yield metabench.Algorithm("{name}", build=Learner)
"""


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch):
    """Remove plugin files from sys.modules and their folders from sys.path after a test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - before:
        if name.startswith((FILE_PREFIX, "plug_")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """Write a file into a folder of the test and return its path."""

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    return write


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with entry points, and hide those of the environment."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    real = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: real(path=[str(site)]))

    def install(name: str, module: str, text: str, version: str = "1.2") -> Path:
        info = site / f"plug_{name}-{version}.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(f"Name: plug-{name}\nVersion: {version}\n")
        info.joinpath("entry_points.txt").write_text(f"[metabench]\n{name} = {module}\n")
        file = site / f"{module}.py"
        file.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return file

    return install


def load(*plugins: str | Path, dirs: tuple[Path, ...] = ()) -> Plugins:
    """Load without any entry point."""
    return load_plugins(PluginSources(tuple(map(str, dirs)), tuple(map(str, plugins)), restrict=()))


def row(plugins: Plugins, name: str):
    (found,) = [row for row in plugins.rows if row.name == name]
    return found


# Files, folders and modules


def test_a_file_provides_its_algorithm_and_is_recorded_with_it(write):
    file = write("good.py", GOOD.format(name="good"))
    plugins = load(file)
    found = plugins.algorithm("good")
    assert found.spec.name == "good"
    assert (found.provider, found.origin) == ("good.py", file)
    assert row(plugins, "good.py").status == "active"
    assert row(plugins, "good.py").hooks == ("metabench_algorithms",)
    assert plugins.warnings == []


def test_every_file_of_a_folder_is_a_plugin_but_tests_and_private_ones(write, tmp_path):
    for name in ("b.py", "a.py"):
        write(name, GOOD.format(name=f"from-{name[0]}"))
    for name in ("test_a.py", "_shared.py", "conftest.py", "notes.txt"):
        write(name, "raise RuntimeError('not a plugin')")
    assert list(load(dirs=(tmp_path,)).algorithms) == ["from-a", "from-b"]


def test_a_folder_that_is_a_package_is_one_plugin(write, tmp_path):
    write("plug_whole/__init__.py", GOOD.format(name="whole"))
    write("plug_whole/part.py", "1 / 0")
    plugins = load(dirs=(tmp_path / "plug_whole",))
    assert (list(plugins.algorithms), plugins.warnings) == (["whole"], [])


def test_packages_of_a_plugin_folder_are_plugins_if_they_mention_metabench(write, tmp_path):
    write("folder/__init__.py", "")
    write("folder/plug_one.py", GOOD.format(name="one"))
    write("folder/plug_two/__init__.py", GOOD.format(name="two"))
    for other in ("test_it", "_private", "metabench"):
        write(f"folder/{other}/__init__.py", "1 / 0  # metabench")
    write("folder/plug_other/__init__.py", "1 / 0")
    plugins = load(dirs=(tmp_path / "folder",))
    assert (list(plugins.algorithms), plugins.warnings) == (["one", "two"], [])


def test_an_installed_package_given_again_as_a_folder_is_loaded_once(install, tmp_path):
    file = install("good", "plug_good", GOOD.format(name="good"))
    package = file.with_suffix("")
    package.mkdir()
    file.rename(package / "__init__.py")
    plugins = load_plugins(PluginSources(plugins=(f"{package}/",)))
    assert [row.name for row in plugins.rows] == ["good"]


def test_a_module_on_the_path_is_a_plugin(write, tmp_path, monkeypatch):
    write("plug_module.py", "__version__ = '0.3'\n" + textwrap.dedent(GOOD.format(name="good")))
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load("plug_module")
    assert plugins.algorithm("good").provider == "plug_module"
    assert row(plugins, "plug_module").version == "0.3"
    assert row(plugins, "plug_module").origin == str(tmp_path / "plug_module.py")


def test_the_same_file_is_loaded_once_however_it_is_given(write, tmp_path, monkeypatch):
    file = write("plug_once.py", GOOD.format(name="good") + "\n    print('imported')")
    link = tmp_path / "folder" / "link.py"
    link.parent.mkdir()
    link.symlink_to(file)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    plugins = load(file, "./plug_once.py", "plug_once", link, dirs=(link.parent,))
    assert [row.name for row in plugins.rows if row.status != "blocked"] == ["link.py"]
    assert list(plugins.algorithms) == ["good"]


def test_of_two_files_with_one_name_the_second_fails(write):
    first = write("a/same.py", GOOD.format(name="first"))
    second = write("b/same.py", GOOD.format(name="second"))
    plugins = load(first, second)
    assert list(plugins.algorithms) == ["first"]
    assert [row.status for row in plugins.rows if row.name == "same.py"] == ["active", "failed"]
    assert plugins.warnings == ["plugin 'same.py' failed: another plugin has the same name"]


def test_a_failed_file_does_not_take_the_name_from_a_good_one(write):
    plugins = load(write("a/same.py", "1 / 0"), write("b/same.py", GOOD.format(name="good")))
    assert plugins.algorithm("good").origin.parent.name == "b"
    assert [row.status for row in plugins.rows if row.name == "same.py"] == ["failed", "active"]


def test_a_learner_from_a_file_can_be_pickled_and_its_source_read(write):
    build = load(write("my-good.one.py", GOOD.format(name="good"))).algorithm("good").spec.build
    assert pickle.loads(pickle.dumps(build)) is build
    assert "def adapt" in inspect.getsource(build)


def test_a_file_can_import_a_helper_from_its_folder(write):
    write("plug_helper.py", "NAME = 'from-helper'")
    text = """
        import metabench, plug_helper

        @metabench.hookimpl
        def metabench_algorithms():
            return [metabench.Algorithm(plug_helper.NAME, build="x:y")]
    """
    assert "from-helper" in load(write("good.py", text)).algorithms


@pytest.mark.parametrize(
    ("plugin", "complaint"),
    [
        ("nowhere/my.py", r"-p .*nowhere/my.py: no such file"),
        ("no_such_module", r"-p no_such_module: no such module$"),
        ("plug_here", r"no such module; for the file, use -p plug_here.py"),
        ("./folder", r"this folder has no __init__.py; use --plugins-dir"),
        ("x" * 5000 + ".py", r"x.py: File name too long$"),
        ("./loop.py", r"loop.py: Too many levels of symbolic links$"),
        ("~nobody-at-all/x.py", r"x.py: no such file$"),
    ],
)
def test_a_missing_plugin_is_a_usage_error(plugin, complaint, write, tmp_path, monkeypatch):
    write("plug_here.py", "")
    write("folder/x.py", "")
    (tmp_path / "loop.py").symlink_to("loop.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=complaint):
        load(plugin)


def test_a_missing_plugin_folder_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"--plugins-dir .*nowhere: no such folder"):
        load(dirs=(tmp_path / "nowhere",))


# Sources


def test_sources_are_shown_as_options_with_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = PluginSources(("my plugins",), ("sub/one.py", "a_module", "no:builtin", "pack/"))
    assert sources.options == (
        "--plugins-dir 'my plugins'",
        "-p sub/one.py",
        "-p a_module",
        "-p no:builtin",
        "-p pack/",
    )


def test_sources_survive_json_and_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = PluginSources(("plugins",), ("my.py", "module", "no:other"), ("builtin",))
    monkeypatch.chdir("/")
    assert PluginSources(**json.loads(json.dumps(dataclasses.asdict(sources)))) == sources
    assert sources.plugins_dirs == (str(tmp_path / "plugins"),)
    assert sources.plugins == (str(tmp_path / "my.py"), "module", "no:other")
    assert (sources.files, sources.modules) == ((str(tmp_path / "my.py"),), ("module",))
    assert sources.blocked == ("other",)


@pytest.mark.parametrize(
    ("environ", "restrict"),
    [
        ({}, None),
        ({"METABENCH_PLUGINS": ""}, ()),
        ({"METABENCH_PLUGINS": "a"}, ("a",)),
        ({"METABENCH_PLUGINS": " a, b "}, ("a", "b")),
    ],
)
def test_the_environment_restricts_entry_points(environ, restrict):
    assert PluginSources.from_env(environ=environ).restrict == restrict


# Entry points, blocking and restriction


def test_entry_points_are_loaded_in_the_order_of_their_names(install):
    install("zeta", "plug_zeta", GOOD.format(name="zeta"))
    file = install("alpha", "plug_alpha", GOOD.format(name="alpha"))
    plugins = load_plugins(PluginSources())
    assert list(plugins.algorithms) == ["alpha", "zeta"]
    assert dataclasses.asdict(row(plugins, "alpha")) == {
        "name": "alpha",
        "version": "1.2",
        "origin": str(file),
        "hooks": ("metabench_algorithms",),
        "status": "active",
        "error": "",
        "named": False,
    }


def test_a_broken_entry_point_is_a_row_and_the_others_stay(install):
    file = install("broken", "plug_broken", "raise ImportError('no such thing\\nmore')")
    install("good", "plug_good", GOOD.format(name="good"))
    plugins = load_plugins(PluginSources())
    assert list(plugins.algorithms) == ["good"]
    broken = row(plugins, "broken")
    assert (broken.status, broken.error) == ("failed", "ImportError: no such thing")
    assert (broken.origin, broken.version) == (str(file), "1.2")
    assert plugins.warnings == ["plugin 'broken' failed: ImportError: no such thing"]


def test_a_malformed_entry_point_is_a_row_that_names_its_package(install):
    install("odd", "plug-odd", "")
    install("good", "plug_good", GOOD.format(name="good"))
    plugins = load_plugins(PluginSources())
    assert list(plugins.algorithms) == ["good"]
    assert row(plugins, "odd").error == (
        "ImportError: the entry point 'odd = plug-odd' of package plug-odd is malformed"
    )


@pytest.mark.parametrize(
    "content", [b"garbage\n\xff\xfe", b"[metabench]\nodd\n"], ids=["no text", "no value"]
)
def test_a_package_whose_entry_points_cannot_be_read_is_a_row_and_the_others_stay(install, content):
    install("bad", "plug_bad", "", version="1.0")
    site = install("good", "plug_good", GOOD.format(name="good")).parent
    (site / "plug_bad-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    importlib.invalidate_caches()
    plugins = load_plugins(PluginSources())
    assert "good" in plugins.algorithms
    bad = row(plugins, "plug_bad-1.0.dist-info")
    assert bad.status == "failed"
    said = "ImportError: the entry points of package plug_bad-1.0.dist-info cannot be read: "
    assert bad.error.startswith(said)


def test_a_plugin_whose_version_cannot_be_read_is_loaded(install):
    site = install("good", "plug_good", GOOD.format(name="good")).parent
    (site / "plug_good-1.2.dist-info" / "METADATA").write_bytes(b"Name: plug-good\n\xff\xfe")
    importlib.invalidate_caches()
    plugins = load_plugins(PluginSources(restrict=("good",)))
    assert (row(plugins, "good").version, row(plugins, "good").status) == ("", "active")


def test_a_plugin_that_is_imported_for_long_is_named(write, monkeypatch, caplog):
    monkeypatch.setattr(registry, "_SLOW", 0.05)
    with caplog.at_level(logging.WARNING, logger="metabench"):
        load(write("slow.py", "import time; time.sleep(0.5)"), write("quick.py", ""))
    assert caplog.messages == [
        "plugin 'slow.py' is still being imported; leave it out with -p no:slow.py"
    ]


def test_an_installed_module_given_again_with_p_is_loaded_once(install):
    install("good", "plug_good", GOOD.format(name="good"))
    plugins = load_plugins(PluginSources(plugins=("plug_good",)))
    assert [row.name for row in plugins.rows] == ["good"]
    assert list(plugins.algorithms) == ["good"]


def test_a_blocked_plugin_is_not_even_imported(install, write):
    install("never", "plug_never", "raise RuntimeError")
    file = write("nor.py", "raise RuntimeError")
    plugins = load_plugins(PluginSources(plugins=(str(file), "no:nor.py", "no:never")))
    assert "plug_never" not in sys.modules
    assert [(r.name, r.status, r.error) for r in plugins.rows] == [
        ("never", "blocked", "by -p no:never"),
        ("nor.py", "blocked", "by -p no:nor.py"),
    ]
    assert plugins.warnings == []
    assert plugins.algorithms == {}


def test_blocking_a_name_that_no_plugin_has_is_a_warning(write):
    plugins = load(write("good.py", GOOD.format(name="good")), "no:good")
    assert plugins.warnings == ["-p no:good: unknown plugin 'good': did you mean 'good.py'?"]


def test_restriction_keeps_entry_points_out_but_no_file(install, write):
    install("in", "plug_in", GOOD.format(name="in"))
    install("out", "plug_out", "raise RuntimeError")
    file = write("file.py", GOOD.format(name="from-file"))
    plugins = load_plugins(PluginSources(plugins=(str(file),), restrict=("in",)))
    assert list(plugins.algorithms) == ["in", "from-file"]
    assert "plug_out" not in sys.modules
    assert (row(plugins, "out").status, row(plugins, "out").error) == (
        "blocked",
        "not in METABENCH_PLUGINS",
    )


def test_restricting_to_a_name_that_is_not_installed_is_a_warning(install):
    install("good", "plug_good", GOOD.format(name="good"))
    plugins = load_plugins(PluginSources(restrict=("goood",)))
    assert plugins.warnings == [
        "METABENCH_PLUGINS=goood: unknown plugin 'goood': did you mean 'good'?"
    ]


# Plugins that fail


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(0)", "SystemExit: os._exit(0)"),
        ("from os import _exit; _exit(4)", "SystemExit: os._exit(4)"),
        ("raise RuntimeError", "RuntimeError"),
        ("def (:", "SyntaxError: "),
        ("class E(BaseException): ...\nraise E('odd')", "E: odd"),
        (
            "class E(Exception):\n    def __str__(self): raise OSError\nraise E",
            "E: its text cannot be shown: OSError",
        ),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_plugin_that_fails_at_import_is_a_row_and_a_warning(text, error, write):
    plugins = load(write("bad.py", text), write("good.py", GOOD.format(name="good")))
    bad = row(plugins, "bad.py")
    assert bad.status == "failed"
    assert bad.error.startswith(error)
    assert "\n" not in bad.error
    assert plugins.warnings == [f"plugin 'bad.py' failed: {bad.error}"]
    assert list(plugins.algorithms) == ["good"]
    assert not any(name.startswith(f"{FILE_PREFIX}bad") for name in sys.modules)


def test_a_pipe_in_a_folder_of_plugins_is_refused_and_not_waited_for(write, tmp_path):
    write("good.py", GOOD.format(name="good"))
    os.mkfifo(tmp_path / "pipe.py")
    plugins = load(dirs=(tmp_path,))
    assert "this is not a regular file" in row(plugins, "pipe.py").error
    assert list(plugins.algorithms) == ["good"]


def test_a_huge_error_of_a_plugin_is_shortened(write):
    plugins = load(write("bad.py", "raise ValueError('x' * 1_000_000)"))
    assert len(row(plugins, "bad.py").error) < 1_000


def test_a_keyboard_interrupt_is_no_failing_plugin(write):
    with pytest.raises(KeyboardInterrupt):
        load(write("slow.py", "raise KeyboardInterrupt"))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("yield metabench.Algorithm('half', build='x:y'); 1 / 0", "ZeroDivisionError: division"),
        ("yield metabench.Algorithm('Bad Name', build='x:y')", "UsageError: algorithm name"),
        ("pass", "TypeError: it returned nothing; return a list or yield"),
        (
            "return metabench.Algorithm('x', build='x:y')",
            "TypeError: it returned a single Algorithm",
        ),
        ("yield 3", "TypeError: it provided 3, not a metabench.Algorithm"),
        ("import sys; sys.exit()", "SystemExit"),
        ("import os; os._exit(0)", "SystemExit: os._exit(0)"),
    ],
)
def test_a_failing_hook_provides_nothing_and_the_others_stay(body, error, write):
    bad = write(
        "bad.py", f"import metabench\n@metabench.hookimpl\ndef metabench_algorithms():\n    {body}"
    )
    plugins = load(bad, write("good.py", GOOD.format(name="good")))
    assert plugins.warnings == []
    assert list(plugins.algorithms) == ["good"]
    assert row(plugins, "bad.py").status == "failed"
    assert row(plugins, "bad.py").error.startswith(f"metabench_algorithms: {error}")
    assert len(plugins.warnings) == 1


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("metabench_algoritms()", "unknown hook 'metabench_algoritms': did you mean"),
        ("metabench_report(results, folder)", "PluginValidationError: .*folder.* can not be found"),
    ],
)
def test_a_plugin_with_an_invalid_hook_is_removed(hook, error, write):
    text = GOOD.format(name="bad") + f"\n    @metabench.hookimpl\n    def {hook}: ..."
    plugins = load(write("bad.py", text), write("good.py", GOOD.format(name="good")))
    assert list(plugins.algorithms) == ["good"]
    assert row(plugins, "bad.py").status == "failed"
    assert re.match(error, row(plugins, "bad.py").error)


def test_wrappers_are_refused(write):
    text = """
        import metabench

        @metabench.hookimpl(wrapper=True)
        def metabench_algorithms():
            return (yield)
    """
    plugins = load(write("bad.py", text))
    assert row(plugins, "bad.py").error.startswith("metabench_algorithms is a wrapper")


def test_an_optional_hook_of_another_version_is_accepted(write):
    text = GOOD.format(name="good") + (
        "\n    @metabench.hookimpl(optionalhook=True)\n    def metabench_of_the_future(): ..."
    )
    plugins = load(write("good.py", text))
    assert list(plugins.algorithms) == ["good"]
    assert row(plugins, "good.py").status == "active"


def test_a_plugin_without_hooks_is_a_warning(write):
    plugins = load(write("bare.py", "def metabench_algorithms(): ..."))
    assert row(plugins, "bare.py").status == "active"
    (warning,) = plugins.warnings
    assert warning.startswith("plugin 'bare.py' has no hooks")


# The catalogue


def test_a_duplicate_name_is_an_error_that_names_both_providers(write):
    plugins = load(
        write("one.py", GOOD.format(name="same")), write("two.py", GOOD.format(name="same"))
    )
    with pytest.raises(UsageError, match=r"algorithm 'same': one.py and two.py; .*-p no:two.py"):
        _ = plugins.algorithms


def test_built_in_suites_and_backbones_need_no_plugin():
    plugins = load()
    assert plugins.suite("digits-5w1s").provider == "metabench"
    assert plugins.backbone("conv4").provider == "metabench"


def test_a_plugin_cannot_take_a_built_in_name(write):
    text = """
        import metabench

        @metabench.hookimpl
        def metabench_backbones():
            yield metabench.Backbone("conv4", build="x:y")
    """
    plugins = load(write("mine.py", text))
    with pytest.raises(UsageError, match=r"'conv4': metabench and mine\.py"):
        plugins.backbone("conv4")


def test_an_unknown_name_comes_with_the_nearest_one_and_with_what_failed(write):
    good = write("good.py", GOOD.format(name="good"))
    with pytest.raises(UsageError, match=r"unknown algorithm 'god': did you mean 'good'\?$"):
        load(good).algorithm("god")
    with pytest.raises(UsageError, match=r"\(plugins that failed: bad.py: ValueError: boom\)"):
        load(good, write("bad.py", "raise ValueError('boom')")).algorithm("god")


# Observers


OBSERVER = """
    import metabench

    @metabench.hookimpl
    def metabench_cell_finished({arguments}):
        {body}

    @metabench.hookimpl
    def metabench_report(out, results):
        (out / "count.txt").write_text(str(len(results)))
"""


@pytest.mark.parametrize("arguments", ["cell, result", "result", "cell", "", "result, cell"])
def test_observers_get_the_arguments_they_ask_for(arguments, write, tmp_path):
    log = tmp_path / "log.txt"
    body = f"open({str(log)!r}, 'w').write(str([{arguments}]))"
    plugins = load(write("watch.py", OBSERVER.format(arguments=arguments, body=body)))
    plugins.cell_finished("the cell", "the result")
    given = {"cell": "the cell", "result": "the result"}
    assert log.read_text() == str([given[name] for name in arguments.split(", ") if name])


def test_an_exception_of_an_observer_is_only_logged(write, tmp_path, caplog):
    log = tmp_path / "log.txt"
    bad = write("bad.py", OBSERVER.format(arguments="cell", body="raise ValueError('boom')"))
    good = write(
        "good.py",
        OBSERVER.format(
            arguments="result, cell", body=f"open({str(log)!r}, 'a').write(f'{{cell}} {{result}}')"
        ),
    )
    plugins = load(bad, good)
    with caplog.at_level(logging.WARNING, logger="metabench"):
        plugins.cell_finished("the cell", "the result")
    assert log.read_text() == "the cell the result"
    assert caplog.messages == [
        "plugin 'bad.py' failed in metabench_cell_finished: ValueError: boom"
    ]


def test_reporters_write_into_the_folder(write, tmp_path):
    plugins = load(write("good.py", OBSERVER.format(arguments="", body="pass")))
    plugins.report([], tmp_path)
    assert (tmp_path / "count.txt").read_text() == "0"


# What the documentation promises


@pytest.mark.parametrize(
    "hook", [name for name in vars(hookspecs) if name.startswith("metabench_")]
)
def test_the_example_of_every_hook_is_a_plugin(hook, write):
    _, _, example = inspect.getdoc(getattr(hookspecs, hook)).partition("::\n")
    file = write("example.py", textwrap.dedent(example))
    plugins = load(file)
    _ = plugins.algorithms, plugins.suites, plugins.backbones
    assert row(plugins, "example.py").hooks == (hook,)
    assert plugins.warnings == []


def test_the_built_in_catalogue_imports_no_torch():
    code = """
        import sys
        from metabench.plugins.sources import PluginSources
        from metabench.plugins.registry import load_plugins
        plugins = load_plugins(PluginSources(restrict=("builtin",)))
        assert plugins.algorithms and plugins.suites and plugins.backbones
        assert plugins.warnings == [], plugins.warnings
        heavy = {"torch", "pandas", "sklearn", "matplotlib", "scipy"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
