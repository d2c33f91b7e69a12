"""What importing a plugin may find beside it, and must leave as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
import metabench
from plug_scale import SCALE

@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("{name}-" + SCALE, build="x:y")
"""
LOAD = """
import sys
from metabench.plugins.sources import Doors
from metabench.plugins.registry import load_plugins
plugins = load_plugins(Doors(plugins=tuple(sys.argv[1:]), restrict=()))
print(sorted(plugins.algorithms))
print(plugins.warnings)
print({after})
"""


def loaded(folder: Path, *files: str, after: str = "''") -> list[str]:
    """What a new process, in a folder, prints of the plugins it loads."""
    command = [sys.executable, "-c", LOAD.format(after=after), *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two plugins, `one/a.py` and `two/b.py`, each with a helper `plug_scale.py` of its own."""
    for name, file in (("one", "a.py"), ("two", "b.py")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(PLUGIN.format(name=name))
        (tmp_path / name / "plug_scale.py").write_text(f"SCALE = '{name}'\n")
    return tmp_path


def test_a_helper_is_the_one_beside_its_plugin_wherever_it_is_run(folder: Path) -> None:
    (folder / "plug_scale.py").write_text("SCALE = 'here'\n")
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert (algorithms, warnings) == ("['one-one']", "[]")


def test_two_helpers_of_one_name_are_not_mixed_up(folder: Path) -> None:
    algorithms, warnings, helper = loaded(
        folder, "one/a.py", "two/b.py", after="sys.modules['plug_scale'].SCALE"
    )
    assert algorithms == "['one-one']"
    assert "plugin 'b.py' failed: ImportError: it imports 'plug_scale' from beside it" in warnings
    assert f"{folder}/one/plug_scale.py: rename one of them" in warnings
    assert helper == "one"


def test_a_helper_that_is_not_imported_is_in_nobodys_way(folder: Path) -> None:
    plugin = folder / "two" / "b.py"
    plugin.write_text(
        PLUGIN.format(name="two").replace("from plug_scale import SCALE", "SCALE = 'x'")
    )
    algorithms, warnings, _ = loaded(folder, "one/a.py", "two/b.py")
    assert (algorithms, warnings) == ("['one-one', 'two-x']", "[]")


def test_what_comes_with_python_is_not_replaced_by_what_lies_beside(folder: Path) -> None:
    (folder / "one" / "copy.py").write_text("raise RuntimeError('not the copy that is meant')")
    (folder / "one" / "torch").mkdir()  # for data, say
    plugin = folder / "one" / "a.py"
    plugin.write_text(f"import copy, torch\n{plugin.read_text()}")
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert (algorithms, warnings) == ("['one-one']", "[]")


def test_a_helper_may_be_imported_later(folder: Path) -> None:
    (folder / "plug_later.py").write_text("WHERE = 'here'\n")
    (folder / "one" / "plug_later.py").write_text("WHERE = 'one'\n")
    *_, found = loaded(folder, "one/a.py", after="__import__('plug_later').WHERE")
    assert found == "one"


def test_a_copy_of_metabench_beside_a_plugin_is_not_taken_for_it(folder: Path) -> None:
    """As where a plugin lies in a checkout and another metabench is installed."""
    (folder / "one" / "metabench").mkdir()
    (folder / "one" / "metabench" / "__init__.py").write_text("raise RuntimeError('the copy')")
    algorithms, warnings, _ = loaded(folder, "one/a.py")
    assert (algorithms, warnings) == ("['one-one']", "[]")


@pytest.mark.parametrize(
    ("line", "what", "after", "shown"),
    [
        ("import os; os.chdir('/')", "the working folder", "__import__('os').getcwd()", None),
        (
            "import torch; torch.set_default_dtype(torch.float64)",
            "torch's default dtype",
            "__import__('torch').get_default_dtype()",
            "torch.float32",
        ),
        (
            "import torch; torch.set_grad_enabled(False)",
            "torch's gradient mode",
            "__import__('torch').is_grad_enabled()",
            "True",
        ),
        (
            "import torch; torch.set_default_device('meta')",
            "torch's default device",
            "__import__('torch').get_default_device()",
            "cpu",
        ),
    ],
)
def test_what_an_import_changes_for_others_is_put_back_and_told(
    folder: Path, line: str, what: str, after: str, shown: str | None
) -> None:
    plugin = folder / "one" / "a.py"
    plugin.write_text(f"{line}\n{plugin.read_text()}")
    algorithms, warnings, found = loaded(folder, "one/a.py", after=after)
    assert algorithms == "['one-one']"
    assert warnings == f"[\"plugin 'a.py' changes {what} when it is imported (put back)\"]"
    assert found == (shown or str(folder))
