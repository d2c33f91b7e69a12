"""A change of metabench itself makes stale only the cells that use what changed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_code import edit

import metabench
from metabench.plugins import code_digest, modules
from metabench.plugins.code_digest import Code, cell_code
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of metabench's own source that may be edited."""
    copy = tmp_path / "core" / "metabench"
    shutil.copytree(
        Path(metabench.__file__).parent, copy, ignore=shutil.ignore_patterns("*.pyc", "*.xz")
    )
    real = importlib.util.find_spec

    def find_spec(name: str) -> object:
        if name != "metabench":
            return real(name)
        spec = importlib.util.spec_from_file_location(
            name, copy / "__init__.py", submodule_search_locations=[str(copy)]
        )
        return spec

    monkeypatch.setattr(modules.importlib.util, "find_spec", find_spec)
    return copy


def builtin_code() -> Callable[..., Code]:
    plugins = load_plugins(PluginSources(restrict=("builtin",)))

    def code(name: str, suite: str = "digits-5w1s") -> Code:
        spec = plugins.algorithms[name].spec
        return cell_code(plugins, name, spec.params, suite_code=plugins.suites[suite].spec.code)

    return code


def test_other_processes_find_the_same_digests_without_torch() -> None:
    code = """
        import json, sys
        from metabench.plugins.code_digest import cell_code
        from metabench.plugins.registry import load_plugins
        from metabench.plugins.sources import PluginSources
        plugins = load_plugins(PluginSources(restrict=("builtin",)))
        code = plugins.suites["digits-5w1s"].spec.code
        print(json.dumps({
            name: cell_code(plugins, name, found.spec.params, suite_code=code).digest
            for name, found in reversed(plugins.algorithms.items())
        }))
        assert "torch" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    code_here = builtin_code()
    for name, digest in json.loads(done.stdout).items():
        assert code_here(name).digest == digest


NETLESS = ("chance", "pca-lr", "sgd", "pixel-1nn")


@pytest.mark.parametrize(
    ("file", "old", "new", "fresh", "changed"),
    [
        (
            *("nets/grouped/layers.py", "return", "print(); return"),
            [(name, "digits-5w1s") for name in NETLESS],
            [("maml", "digits-5w1s"), ("cnn-adam", "omniglot-5w1s")],
        ),
        (
            *("data/mnist.py", "return", "print(); return"),
            [("chance", "omniglot-5w1s"), ("maml", "digits-5w1s")],
            [("chance", "mnist-5w1s"), ("maml", "mnist-chunks")],
        ),
        (
            *("data/omniglot.py", "return", "print(); return"),
            [("protonet", "mnist-5w1s")],
            [("protonet", "omniglot-20w5s"), ("sgd", "omniglot-alphabet-5w1s")],
        ),
        (
            *("cell/scoring.py", "return", "print(); return"),
            [],
            [("chance", "digits-5w1s"), ("maml", "mnist-5w1s")],
        ),
        (
            *("supervisor/cell_run.py", "return", "print(); return"),
            [("chance", "digits-5w1s"), ("maml", "mnist-5w1s")],
            [],
        ),
    ],
)
def test_a_change_of_metabench_reaches_just_the_cells_that_use_it(
    core: Path,
    file: str,
    old: str,
    new: str,
    fresh: list[tuple[str, str]],
    changed: list[tuple[str, str]],
) -> None:
    before = builtin_code()
    expected = {cell: before(*cell).digest for cell in [*fresh, *changed]}
    edit(core / file, f"    {old} ", f"    {new} ")
    after = builtin_code()
    for cell in fresh:
        assert after(*cell).digest == expected[cell], cell
    for cell in changed:
        assert after(*cell).digest != expected[cell], cell


def test_the_packages_that_code_uses_are_named() -> None:
    assert {"sklearn", "torch", "numpy"} <= builtin_code()("pca-lr").packages
    assert not builtin_code()("chance").packages & {"metabench", "json", "metabench_plugins"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maml", "pretrained"])
def test_every_definition_that_a_learner_process_runs_is_counted(name: str) -> None:
    """Traced from the start of a session to its last answer."""
    script = f"""
        import json, sys
        from pathlib import Path
        import metabench
        from metabench.worker import session
        from metabench.cell import commands
        from metabench.cell.messages import ProcessSettings
        from metabench.cell import scoring
        from metabench.cell import probe
        from metabench.plugins.registry import load_plugins
        from metabench.plugins.sources import PluginSources
        from metabench.supervisor.request import Request
        from metabench.supervisor.requested_cells import request_cells
        from metabench.suites.training_data import TrainingData
        plugins = load_plugins(PluginSources(restrict=("builtin",)))
        (cell,) = request_cells(
            Request(["digits-5w1s"], ["{name}"], budget="tasks=8"), plugins
        )
        opened = cell.suite.open()
        root = Path(metabench.__file__).parent
        codes = set()

        def trace(frame, event, arg):
            if event == "call":
                codes.add(frame.f_code)

        sources = PluginSources(restrict=("builtin",))
        start = commands.start(cell, opened, None, ProcessSettings(sources=sources, threads=1))
        import msgspec, tempfile
        folder = Path(tempfile.mkdtemp())
        opened.material.save(folder)
        start = msgspec.structs.replace(
            start, material=str(folder), plan=commands.plan(cell, opened.material)
        )
        sys.setprofile(trace)
        learner, trained = session.open_session(start, plugins, lambda *_: None)
        learner.measure(commands.measure(opened, 20, 0.01))
        scoring.score(learner, opened, 20)
        probe.probe(learner, opened, 2, 20)
        sys.setprofile(None)
        seen = set()
        for code in codes:
            file = Path(code.co_filename)
            if root in file.parents and code.co_name != "<module>":
                module = ".".join(["metabench", *file.relative_to(root).with_suffix("").parts])
                seen.add(module.removesuffix(".__init__") + ":" + code.co_qualname.split(".")[0])
        print(json.dumps([sorted(seen), sorted(cell.code.definitions)]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seen, counted = json.loads(done.stdout)
    loading = (*code_digest.OUTSIDE, *LOADING)
    missing = [each for each in seen if each not in counted and not each.startswith(loading)]
    assert len(seen) > 60
    assert missing == [], missing


LOADING = (
    # What reads plugins and code, before the learner is built.
    *(
        "metabench.plugins.definitions:",
        "metabench.plugins.modules:",
        "metabench.plugins.code_reader:",
        "metabench.files:expanded",
        "metabench:",
    ),
    # Catalogue entries, of which what they declare counts.
    *("metabench.learner:Algorithm", "metabench.learner:kind_of", "metabench.suites.suite:Suite"),
)
