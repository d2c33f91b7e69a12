"""The import of plugin files: their helpers, and settings that an import must not change."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.plugins.importing import import_file

PLUGIN = """
import metabench
from plug_scale import SCALE

@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("{name}-" + SCALE, build="x:y")
"""
LOAD = """
import sys
from metabench.plugins.sources import PluginSources
from metabench.plugins.registry import load_plugins
plugins = load_plugins(PluginSources(plugins=tuple(sys.argv[1:]), restrict=()))
print(sorted(plugins.algorithms))
print(plugins.warnings)
print({after})
"""


def loaded(folder: Path, *files: str, after: str = "''") -> list[str]:
    """Load plugins in a new process with a working folder; return the lines that it prints."""
    command = [sys.executable, "-c", LOAD.format(after=after), *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two plugins, `one/a.py` and `two/b.py`, each with its own helper `plug_scale.py`."""
    for name, file in (("one", "a.py"), ("two", "b.py")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(PLUGIN.format(name=name))
        (tmp_path / name / "plug_scale.py").write_text(f"SCALE = '{name}'\n")
    return tmp_path


def test_a_helper_is_taken_from_the_folder_of_its_plugin(folder: Path) -> None:
    (folder / "plug_scale.py").write_text("SCALE = 'here'\n")
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert (algorithms, warnings) == ("['one-one']", "[]")


def test_two_plugins_whose_helpers_share_a_name_are_refused(folder: Path) -> None:
    algorithms, warnings, helper = loaded(
        folder, "one/a.py", "two/b.py", after="sys.modules['plug_scale'].SCALE"
    )
    assert algorithms == "['one-one']"
    assert "plugin 'b.py' failed: ImportError: its helper 'plug_scale' has the same" in warnings
    assert f"same name as {folder}/one/plug_scale.py: rename the helper" in warnings
    assert helper == "one"


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("def later():\n    from plug_models.net import Net", True),
        ("class Later:\n    def build(self):\n        import plug_models.net", False),
        ("import plug_user", False),
    ],
)
def test_they_are_refused_for_imports_in_functions_and_in_helpers(
    folder: Path, line: str, package: bool
) -> None:
    for name in ("one", "two"):
        (folder / name / "plug_models").mkdir()
        (folder / name / "plug_models" / "net.py").touch()
        if package:
            (folder / name / "plug_models" / "__init__.py").touch()
    (folder / "two" / "plug_user.py").write_text("def later():\n    import plug_models.net")
    (folder / "two" / "b.py").write_text(line)
    _, warnings, found = loaded(
        folder, "one/a.py", "two/b.py", after="__import__('plug_models.net').net.__file__"
    )
    assert "plugin 'b.py' failed: ImportError: its helper 'plug_models' has the same" in warnings
    assert found == f"{folder}/one/plug_models/net.py"


@pytest.mark.parametrize(
    ("name", "algorithm", "refused"), [("tabulate", "one-one", False), ("pluggy", "", True)]
)
def test_a_helper_named_like_an_installed_package_is_taken_or_refused(
    folder: Path, name: str, algorithm: str, refused: bool
) -> None:
    """A loaded package, such as pluggy, cannot be replaced."""
    (folder / "one" / f"{name}.py").write_text("SCALE = 'one'")
    plugin = folder / "one" / "a.py"
    plugin.write_text(plugin.read_text().replace("plug_scale", name))
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert algorithms == str([algorithm] if algorithm else [])
    assert ("site-packages/pluggy: rename the helper" in warnings) is refused


def test_a_process_that_a_plugin_starts_finds_the_same_helper(folder: Path) -> None:
    (folder / "plug_where.py").write_text("where = lambda: 'here'\n")
    (folder / "one" / "plug_where.py").write_text("def where():\n    return 'one'\n")
    start = "__import__('multiprocessing').get_context('spawn').Pool(1)"
    *_, found = loaded(folder, "one/a.py", after=f"{start}.apply(__import__('plug_where').where)")
    assert found == "one"


def test_a_file_that_is_not_imported_is_no_helper(folder: Path) -> None:
    plugin = folder / "two" / "b.py"
    plugin.write_text(
        PLUGIN.format(name="two").replace("from plug_scale import SCALE", "SCALE = 'x'")
    )
    algorithms, warnings, _ = loaded(folder, "one/a.py", "two/b.py")
    assert (algorithms, warnings) == ("['one-one', 'two-x']", "[]")


def test_the_standard_library_and_packages_are_not_replaced_by_unused_files(folder: Path) -> None:
    (folder / "one" / "copy.py").write_text("raise RuntimeError('not the copy that is meant')")
    (folder / "one" / "numpy").mkdir()  # a folder of data
    plugin = folder / "one" / "a.py"
    plugin.write_text(f"import copy, numpy\n{plugin.read_text()}")
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert (algorithms, warnings) == ("['one-one']", "[]")


def test_a_helper_may_be_imported_later(folder: Path) -> None:
    (folder / "plug_later.py").write_text("WHERE = 'here'\n")
    (folder / "one" / "plug_later.py").write_text("WHERE = 'one'\n")
    *_, found = loaded(folder, "one/a.py", after="__import__('plug_later').WHERE")
    assert found == "one"


def test_a_copy_of_metabench_in_the_folder_of_a_plugin_is_not_imported(folder: Path) -> None:
    """A plugin can be in a checkout while another metabench is installed."""
    (folder / "one" / "metabench").mkdir()
    (folder / "one" / "metabench" / "__init__.py").write_text("raise RuntimeError('the copy')")
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert (algorithms, warnings) == ("['one-one']", "[]")


@pytest.mark.slow
def test_settings_that_imports_change_are_restored_with_a_warning(folder: Path) -> None:
    plugin = (folder / "one" / "a.py").read_text()
    changes = {
        "the working folder": "import os; os.chdir('/')",
        "torch's default dtype": "import torch; torch.set_default_dtype(torch.float64)",
        "torch's gradient mode": "import torch; torch.set_grad_enabled(False)",
        "torch's default device": "import torch; torch.set_default_device('meta')",
    }
    files = [f"one/p{number}.py" for number in range(len(changes))]
    for file, line in zip(files, changes.values(), strict=True):
        renamed = plugin.replace("one-", Path(file).stem)
        (folder / file).write_text(f"{line}\n{renamed}")
    settings = "(os.getcwd(), torch.get_default_dtype(), torch.is_grad_enabled())"
    after = f"import os, torch; print({settings}, torch.get_default_device())"
    algorithms, warnings, found, _ = loaded(folder, *files, after=f"exec({after!r})")
    assert algorithms == "['p0one', 'p1one', 'p2one', 'p3one']"
    assert ast.literal_eval(warnings) == [
        f"plugin 'p{number}.py' changes {what} when it is imported; it was restored"
        for number, what in enumerate(changes)
    ]
    assert found == f"({str(folder)!r}, torch.float32, True) cpu"


PACKAGE = {
    "__init__.py": """
import metabench
from . import net

@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("packed", build=net.Learner)
""",
    "net.py": """
import metabench

class Learner(metabench.Learner):
    def adapt(self, support): return 1
    def predict(self, state, query_x): return state
""",
}


def package(folder: Path) -> Path:
    """Write the package of a plugin, next to a file that would replace a module."""
    folder.mkdir(parents=True)
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    (folder.parent / "colorsys.py").write_text("1 / 0")
    return folder


@pytest.mark.parametrize("given", ["plug_pack/", "plug_pack/__init__.py", "./plug_pack"])
def test_a_package_in_a_folder_is_a_plugin(given: str, tmp_path: Path) -> None:
    package(tmp_path / "plug_pack")
    (tmp_path / "elsewhere").mkdir()
    after = "__import__('colorsys').__name__, plugins.rows[-1].name"
    folder = tmp_path / "elsewhere"
    algorithms, warnings, other = loaded(folder, f"../{given}", after=after)
    assert (algorithms, warnings, other) == ("['packed']", "[]", "colorsys plug_pack")


def test_a_package_within_a_package_has_its_whole_name(tmp_path: Path) -> None:
    package(tmp_path / "plug_outer" / "inner")
    (tmp_path / "plug_outer" / "__init__.py").write_text("")
    after = "plugins.algorithm('packed').module"
    assert loaded(tmp_path, "plug_outer/inner/", after=after)[0::2] == [
        "['packed']",
        "plug_outer.inner",
    ]


def test_a_process_that_the_plugin_of_a_package_spawns_finds_it(tmp_path: Path) -> None:
    package(tmp_path / "plug_pack")
    after = (
        "__import__('multiprocessing').get_context('spawn').Pool(1)"
        ".apply(getattr, (plugins.algorithm('packed').spec.build, '__name__'))"
    )
    (tmp_path / "load.py").write_text(
        "if __name__ == '__main__':\n    "
        + "\n    ".join(LOAD.format(after=after).strip().splitlines())
    )
    command = [sys.executable, "load.py", "plug_pack/"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "Learner"


@pytest.mark.parametrize("name", ["json", "numpy"])
def test_a_package_with_the_name_of_another_module_is_refused(name: str, tmp_path: Path) -> None:
    package(tmp_path / "own" / name)
    algorithms, warnings, _ = loaded(tmp_path, f"own/{name}/")
    assert algorithms == "[]"
    assert f"{name}/__init__.py by its name" in warnings
    assert f"by its name '{name}': rename the folder" in warnings


def test_of_two_packages_with_one_name_the_second_is_refused(tmp_path: Path) -> None:
    package(tmp_path / "a" / "plug_pack")
    package(tmp_path / "b" / "plug_pack")
    algorithms, warnings, _ = loaded(tmp_path, "a/plug_pack/", "b/plug_pack/")
    assert algorithms == "['packed']"
    assert warnings == "[\"plugin 'plug_pack' failed: another plugin has the same name\"]"


def test_the_code_of_every_file_of_a_package_counts(tmp_path: Path) -> None:
    folder = package(tmp_path / "plug_pack")
    after = (
        "__import__('metabench.plugins.code_digest', fromlist=['x'])"
        ".cell_code(plugins, 'packed', {}).digest"
    )
    before = loaded(tmp_path, "plug_pack/", after=after)[-1]
    assert loaded(tmp_path, "plug_pack/", after=after)[-1] == before
    (folder / "net.py").write_text(PACKAGE["net.py"].replace("return 1", "return 2"))
    assert loaded(tmp_path, "plug_pack/", after=after)[-1] != before


def test_two_files_of_one_name_are_two_codes_whatever_they_call_their_algorithm(
    tmp_path: Path,
) -> None:
    after = (
        "__import__('metabench.plugins.code_digest', fromlist=['x'])"
        ".cell_code(plugins, 'packed', {}).digest"
    )
    found = []
    for name, state in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name).mkdir()
        text = PACKAGE["net.py"] + PACKAGE["__init__.py"].replace("from . import net", "")
        text = text.replace("net.Learner", "Learner").replace("return 1", f"return {state}")
        (tmp_path / name / "plug.py").write_text(text)
        found.append(loaded(tmp_path, f"{name}/plug.py", after=after)[-1])
    one, other, copy = found
    assert one != other
    assert one == copy


SPAWNS = """
import metabench
from plug_scale import SCALE

class Box:
    def __init__(self, value):
        self.value = value
    def plus(self, other):
        return Box(f"{self.value}{other}{SCALE}")
"""
AFTER = """[
    __import__("multiprocessing").get_context("{method}").Pool(1).apply(box.plus, ("b",)).value
    for module in list(sys.modules.values()) for box in [module.__dict__.get("Box", str)("a")]
    if hasattr(box, "plus")
]"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_is_spawned_can_import_what_a_plugin_file_defines(
    folder: Path, method: str
) -> None:
    (folder / "one" / "a plugin.py").write_text(SPAWNS)
    (folder / "one" / "link.py").symlink_to("a plugin.py")
    after = " ".join(AFTER.format(method=method).split())
    assert loaded(folder, "one/link.py", after=after)[-1] == "['abone']"


def test_a_file_is_imported_again_only_if_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "plug_reloaded.py"
    file.write_text("class Learner: answer = 1")
    first = import_file(file)
    assert import_file(file) is first
    file.write_text("class Learner: answer = 2")
    second = import_file(file)
    assert second.Learner.answer == 2
    assert sys.modules[second.__name__] is second
