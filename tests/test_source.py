from __future__ import annotations

import dataclasses
import functools
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from metabench import Algorithm, Backbone, TrainingEpisodes, source
from metabench.doors import Doors
from metabench.plugins import load_plugins
from metabench.source import APART, PACKAGE, cell_code, source_digest

PLUGIN = """
    import metabench, torch, nearby

    @metabench.hookimpl
    def metabench_algorithms():
        yield metabench.Algorithm("alone", build=build)

    def build(task):
        from further import away
"""


@pytest.fixture
def core(tmp_path, monkeypatch) -> Path:
    """A copy of metabench's own source that may be edited."""
    copy = tmp_path / "core"
    shutil.copytree(source.PACKAGE, copy, ignore=shutil.ignore_patterns("*.pyc", "*.npz", "*.xz"))
    monkeypatch.setattr(source, "PACKAGE", copy)
    return copy


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A plugin in a package that has never been imported, and cannot be."""
    folder = tmp_path / "site" / "plug_pkg"
    files = {
        "__init__.py": "raise RuntimeError('imported')",
        "learner.py": """
            import json, plug_other
            import plug_pkg.direct
            from plug_pkg import sibling
            from . import relative
            from .deep import name, inner
            from .deep.lower import up
            def build(task): ...
        """,
        "direct.py": "",
        "sibling.py": "from plug_pkg import learner  # a circle",
        "relative.py": "",
        "unrelated.py": "",
        "deep/__init__.py": "",
        "deep/inner.py": "",
        "deep/lower.py": f"from ..parents import x\nfrom {'.' * 50}far import y",
        "parents.py": "not python (",
        "../plug_other.py": "",
    }
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(folder.parent)
    return folder


IN_PACKAGE = Algorithm("packaged", build="plug_pkg.learner:build")


def edit(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n# edited\n")


def test_a_digest_is_sha256_and_repeatable():
    digest = source_digest(IN_PACKAGE)
    assert len(digest) == 64
    assert source_digest(IN_PACKAGE) == digest


@pytest.mark.parametrize(
    "name",
    [
        "learner.py",
        "direct.py",
        "sibling.py",
        "relative.py",
        "deep/__init__.py",
        "deep/inner.py",
        "deep/lower.py",
        "parents.py",
    ],
)
def test_editing_the_learner_or_what_it_imports_changes_the_digest(name, package):
    before = source_digest(IN_PACKAGE)
    edit(package / name)
    assert source_digest(IN_PACKAGE) != before


@pytest.mark.parametrize("name", ["__init__.py", "unrelated.py", "../plug_other.py"])
def test_editing_what_the_learner_does_not_import_does_not(name, package):
    before = source_digest(IN_PACKAGE)
    edit(package / name)
    assert source_digest(IN_PACKAGE) == before


def test_nothing_is_imported_to_find_the_source(package):
    source_digest(IN_PACKAGE)  # the package raises if it is
    assert "plug_pkg" not in sys.modules


def test_the_folder_does_not_count(package, tmp_path, monkeypatch):
    before = source_digest(IN_PACKAGE)
    moved = tmp_path / "elsewhere"
    shutil.move(package.parent, moved)
    monkeypatch.syspath_prepend(moved)
    assert source_digest(IN_PACKAGE) == before


def test_line_endings_do_not_count(package):
    before = source_digest(IN_PACKAGE)
    file = package / "learner.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert source_digest(IN_PACKAGE) == before


def test_a_single_file_and_the_files_beside_it_that_it_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    plugin, nearby, further, other = (
        tmp_path / f"{name}.py" for name in ("plugin", "nearby", "further", "other")
    )
    plugin.write_text(textwrap.dedent(PLUGIN))
    for file in (nearby, further, other):
        file.write_text("")
    found = load_plugins(Doors(plugins=(str(plugin),), restrict=())).algorithm("alone")
    digests = [source_digest(found.spec, found.origin)]
    edit(other)
    assert source_digest(found.spec, found.origin) == digests[0]
    for file in (plugin, nearby, further):
        edit(file)
        digests.append(source_digest(found.spec, found.origin))
    assert len(set(digests)) == 4
    sys.modules.pop("nearby")


def test_what_lies_beside_an_installed_file_is_not_its_own(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "plug_installed.py").write_text("import plug_neighbour")
    neighbour = site / "plug_neighbour.py"
    neighbour.write_text("")
    monkeypatch.syspath_prepend(site)
    spec = Algorithm("installed", build="plug_installed:build")
    before = source_digest(spec)
    edit(neighbour)
    assert source_digest(spec) == before
    edit(site / "plug_installed.py")
    assert source_digest(spec) != before


@pytest.mark.parametrize(
    "name", ["learner.py", "address.py", "nets/__init__.py", "suites/draw.py", "data/dataset.py"]
)
def test_editing_what_a_learner_runs_on_changes_the_digest(name, core):
    before = source_digest(IN_PACKAGE)
    edit(core / name)
    assert source_digest(IN_PACKAGE) != before


def test_nothing_that_a_learner_process_runs_is_left_out():
    code = "import sys, metabench.harness.worker, metabench.harness.serving; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.replace(".", "/") + ".py" for name in done.stdout.split()}
    assert "metabench/harness/outer_loop.py" in loaded
    assert not {f"metabench/{name}" for name in APART} & loaded
    assert all((PACKAGE / name).is_file() for name in APART)


@pytest.mark.parametrize(
    "name",
    [
        *("cli/__init__.py", "plugins.py", "analysis/__init__.py", "results/schema.py"),
        *("harness/process.py", "harness/supervisor.py"),
    ],
)
def test_editing_the_rest_of_metabench_does_not(name, core):
    before = source_digest(IN_PACKAGE)
    edit(core / name)
    assert source_digest(IN_PACKAGE) == before


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"lr": 0.2}},
        {"budgets": {"smoke": 3}},
        {"training": TrainingEpisodes(way=20)},
    ],
)
def test_the_declaration_counts(change):
    spec = Algorithm("declared", build="no_such_module:build", params={"lr": 0.1})
    assert source_digest(dataclasses.replace(spec, **change)) != source_digest(spec)


def test_what_does_not_decide_the_outcome_does_not_count():
    spec = Algorithm("declared", build="no_such_module:build")
    changed = dataclasses.replace(spec, reference="a page", tags=frozenset({"x"}))
    assert source_digest(changed) == source_digest(spec)


def test_a_missing_module_falls_back_to_the_plugins_file(tmp_path):
    origin = tmp_path / "plugin.py"
    origin.write_text("")
    spec = Algorithm("lost", build="no_such_module:build")
    before = source_digest(spec, origin)
    edit(origin)
    assert source_digest(spec, origin) != before
    assert source_digest(spec) != before


def test_a_partial_is_the_function_inside_and_what_it_is_given():
    def build(task, width, network=None): ...

    def digest_of(*args, **given):
        return source_digest(Algorithm("partly", build=functools.partial(build, *args, **given)))

    found = [digest_of(width=3), digest_of(width=4), digest_of(3), digest_of(width=3, network=dict)]
    assert len(set(found)) == len(found)
    assert digest_of(width=3) == found[0]
    nested = functools.partial(functools.partial(build, width=3), network=dict)
    assert source_digest(Algorithm("partly", build=nested)) == found[3]
    assert digest_of(network=object()) == digest_of(network=object())  # in every process


def test_what_a_partial_backbone_is_given_counts():
    def build(spec, width): ...

    def digest_of(width):
        backbone = Backbone("mine", functools.partial(build, width=width))
        return source_digest(Algorithm("a", build="x:y"), None, [(backbone, None)])

    assert digest_of(8) != digest_of(2)
    assert digest_of(8) == digest_of(8)


def test_the_plugins_own_package_counts_where_it_is_imported_by_name(package):
    (package / "learner.py").write_text("import plug_pkg")
    before = source_digest(IN_PACKAGE)
    edit(package / "__init__.py")
    assert source_digest(IN_PACKAGE) != before


def test_importing_a_module_runs_the_packages_around_it(tmp_path):
    origin = tmp_path / "plug_single.py"
    origin.write_text("import beside.core.deep")
    for name in ("beside/__init__.py", "beside/core/__init__.py", "beside/core/deep.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("SIGN = 1")
        before = source_digest(Algorithm("single", build="plug_single:build"), origin)
        file.write_text("SIGN = -1")
        assert source_digest(Algorithm("single", build="plug_single:build"), origin) != before


def test_a_learner_typed_at_a_prompt_has_a_digest():
    code = """
        from metabench import Algorithm
        from metabench.source import source_digest

        class Typed: ...
        class Other: ...

        one, two = (source_digest(Algorithm("typed", build=c)) for c in (Typed, Other))
        assert one != two
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_every_built_in_algorithm_is_found_without_torch():
    code = """
        import sys
        from metabench.doors import Doors
        from metabench.plugins import load_plugins
        from metabench.source import _locate, source_digest
        found = load_plugins(Doors(restrict=("builtin",))).algorithms.values()
        assert found
        for f in found:
            assert _locate(f.spec.build.partition(":")[0]) is not None, f.spec.name
            source_digest(f.spec, f.origin)
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_another_backbone_is_other_code(tmp_path: Path) -> None:
    file = tmp_path / "body.py"
    algorithm = Algorithm("mine", build="metabench_plugins.floors:Untrained")
    digests = []
    for width in (8, 2):
        file.write_text(f"WIDTH = {width}\n")
        digests.append(source_digest(algorithm, None, [(Backbone("mine", "body:build"), file)]))
    assert digests[0] != digests[1]
    assert source_digest(algorithm) not in digests


@pytest.mark.parametrize("learner", ["", "NAME = 'a-body'\n"])
def test_a_backbone_counts_whatever_names_it(tmp_path: Path, learner: str) -> None:
    """A parameter of any name, or the learner itself."""
    (tmp_path / "body.py").write_text(BODY.format(width=8))
    (tmp_path / "mine.py").write_text(learner + MINE.format(given="" if learner else "a-body"))
    doors = Doors(plugins=(str(tmp_path / "body.py"), str(tmp_path / "mine.py")), restrict=())
    digests = []
    for width in (8, 2):
        (tmp_path / "body.py").write_text(BODY.format(width=width))
        plugins = load_plugins(doors)
        spec = plugins.algorithm("mine").spec
        digests.append(cell_code(plugins, "mine", spec.params))
    assert digests[0] != digests[1]


BODY = """
import metabench
WIDTH = {width}

@metabench.hookimpl
def metabench_backbones():
    yield metabench.Backbone("a-body", build="x:y")
"""
MINE = """
import metabench

@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("mine", build="x:y", params={{"encoder": "{given}"}})
"""
