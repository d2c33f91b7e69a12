"""The structure of the package: imports between layers, and one meaning for each name."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

import metabench

PACKAGE = Path(metabench.__file__).parent
FOUND = list(pkgutil.walk_packages([str(PACKAGE)], "metabench."))
MODULES = sorted(module.name for module in FOUND if not module.name.endswith("__main__"))
PACKAGES = {module.name for module in FOUND if module.ispkg}
# Verbs are named as they are typed.
VERBS = "metabench.cli."


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("metabench", exclude_type_checking_imports=True)


def test_no_file_imports_another_in_a_circle(imports: grimp.ImportGraph) -> None:
    found = {name: imports.find_modules_directly_imported_by(name) for name in imports.modules}
    found["metabench"] = set()  # the facade, which imports when it is asked
    state: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != "open", " -> ".join((*path, name))
        if name not in state:
            state[name] = "open"
            for other in sorted(found[name]):
                visit(other, (*path, name))
            state[name] = "done"

    for name in sorted(found):
        visit(name, ())


def test_statistics_know_numbers_only() -> None:
    tops = set()
    for file in (PACKAGE / "statistics").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                tops |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                own = node.module.startswith("metabench.statistics.")
                tops |= set() if own else {node.module.partition(".")[0]}
    assert tops - sys.stdlib_module_names <= {"numpy", "scipy"}


def test_no_two_modules_have_one_name() -> None:
    homes = defaultdict(list)
    for name in MODULES:
        if not name.startswith(VERBS) and name not in PACKAGES:
            homes[name.rpartition(".")[2]].append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_no_two_classes_or_types_have_one_name() -> None:
    homes = defaultdict(list)
    for file in PACKAGE.rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(file.name)
            elif isinstance(target, ast.Name) and re.fullmatch(r"[A-Z][a-z]\w*", target.id):
                homes[target.id].append(file.name)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_public_names_are_what_they_are_after_every_module_is_imported() -> None:
    code = """
        import importlib, sys
        import metabench
        for name in sys.argv[1:]:
            importlib.import_module(name)
        for name in metabench.__all__:
            assert not isinstance(getattr(metabench, name), type(sys)), name
            assert callable(getattr(metabench, name)), name
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), *MODULES], check=True)


def test_every_name_of_the_facade_is_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in metabench._HOME.items():
        assert getattr(importlib.import_module(module), name) is getattr(metabench, name)
