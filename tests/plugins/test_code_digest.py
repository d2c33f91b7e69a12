"""A result goes stale if and only if a definition that it was made by has changed."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import metabench
from metabench import Algorithm, Backbone, TrainingEpisodes, UsageError
from metabench.plugins import code_digest, modules
from metabench.plugins.code_digest import Code, cell_code
from metabench.plugins.registry import Provided, load_plugins
from metabench.plugins.sources import PluginSources
from metabench.plugins.staleness import changes

LEARNER = '''
"""A learner."""

import math
from collections.abc import Sequence
from . import tools
from .tools import helper
from .deep.inner import SCALE

RATE: float = 0.5
UNUSED = 1


class Learner:
    """Learns."""

    width: int = 3

    def adapt(self, support: Sequence[float]) -> float:
        """Adapt."""
        total: float = 0.0
        return total + RATE * helper(support) + math.sin(SCALE) + tools.other()


def unrelated():
    return 1
'''
FILES = {
    "plug_pkg/__init__.py": "raise RuntimeError('imported')",
    "plug_pkg/learner.py": LEARNER,
    "plug_pkg/tools.py": "def helper(x):\n    return len(x)\n\n\ndef other():\n    return 2\n",
    "plug_pkg/deep/inner.py": "SCALE = 3\n",  # a namespace package in a package
}
BUILD = "plug_pkg.learner:Learner"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which there is a plugin's package that cannot be imported."""
    folder = tmp_path / "site"
    write(folder, FILES)
    monkeypatch.syspath_prepend(folder)
    return folder


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


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def code_of(
    entry: Algorithm | str = BUILD,
    origin: Path | None = None,
    backbones: tuple[Backbone, ...] = (),
    params: dict[str, object] | None = None,
    module: str = "no_such_module",
) -> Code:
    """The code of a catalogue entry, read again."""
    algorithm = Algorithm("mine", build=entry) if isinstance(entry, str) else entry
    plugins = load_plugins(PluginSources(restrict=()))
    plugins.algorithms["mine"] = Provided(replace(algorithm, name="mine"), "test", origin, module)
    for backbone in backbones:
        plugins.backbones[backbone.name] = Provided(backbone, "test", origin, module)
    with pytest.MonkeyPatch.context() as patch:
        # What every cell uses of metabench is left out: it is read for seconds, by other tests.
        patch.setattr(code_digest, "ROOTS", ())
        return cell_code(plugins, "mine", {**algorithm.params, **(params or {})})


def digest_of(*args: object, **given: object) -> str:
    return code_of(*args, **given).digest  # type: ignore[arg-type]


def builtin_code() -> Callable[..., Code]:
    plugins = load_plugins(PluginSources(restrict=("builtin",)))

    def code(name: str, suite: str = "digits-5w1s") -> Code:
        spec = plugins.algorithms[name].spec
        return cell_code(plugins, name, spec.params, suite_code=plugins.suites[suite].spec.code)

    return code


def test_a_digest_is_sha256_and_repeatable(site: Path) -> None:
    digest = digest_of()
    assert len(digest) == 64
    assert digest_of() == digest


def test_nothing_is_imported_to_find_the_code(site: Path) -> None:
    code_of()
    assert "plug_pkg" not in sys.modules  # it raises if it is imported


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Adapt."""', '"""Adapt to a support set."""'),
        ('    """Learns."""\n', "    # learns\n"),
        ('"""A learner."""', ""),
        ("support: Sequence[float]) -> float", "support)"),
        ("total: float = 0.0", "total = 0.0"),
        ("RATE: float = 0.5", "RATE = 0.50  # per step"),
        ("        return total + RATE", "\n        return  total+RATE"),
        ("UNUSED = 1", "UNUSED = 2"),
        ("    return 1\n", "    return 2\n"),
        ("import math\n", "import math, json\n"),
        ("import math\n", "import math as m\n"),
        ("from . import tools\n", "import plug_pkg.tools as tools\n"),
        ("from .tools import helper\n", "from plug_pkg.tools import helper\n"),
        ("\n", "\r\n"),
    ],
)
def test_what_does_not_run_does_not_count(site: Path, old: str, new: str) -> None:
    before = code_of()
    edit(site / "plug_pkg" / "learner.py", old, new)
    if new == "import math as m\n":
        edit(site / "plug_pkg" / "learner.py", "math.sin", "m.sin")
    assert code_of().digest == before.digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("learner.py", "0.5", "0.6"),
        ("learner.py", "total + RATE", "total - RATE"),
        ("learner.py", "width: int", "width: float"),  # a field of a dataclass, maybe
        ("learner.py", "    def adapt", "    @staticmethod\n    def adapt"),
        ("learner.py", "support: Sequence[float])", "support: Sequence[float] = ())"),
        ("learner.py", "import math\n", "import cmath as math\n"),
        ("learner.py", "from .tools import helper", "from .tools import other as helper"),
        ("tools.py", "len(x)", "sum(x)"),
        ("tools.py", "return 2", "return 3"),
        ("deep/inner.py", "3", "4"),
    ],
)
def test_what_runs_counts(site: Path, file: str, old: str, new: str) -> None:
    before = digest_of()
    edit(site / "plug_pkg" / file, old, new)
    assert digest_of() != before


def test_moving_and_renaming_a_function_and_its_file_does_not_count(site: Path) -> None:
    before = digest_of()
    package = site / "plug_pkg"
    moved = {
        "sums.py": "def length(x):\n    return len(x)\n",
        "tools.py": "from .sums import length\n\n\ndef other():\n    return 2\n",
    }
    write(package, moved)
    edit(package / "learner.py", "import helper", "import length")
    edit(package / "learner.py", "helper(support)", "length(support)")
    (package / "learner.py").rename(package / "model.py")
    assert digest_of("plug_pkg.model:Learner") == before


def test_two_definitions_that_change_places_count(site: Path) -> None:
    before = digest_of()
    edit(site / "plug_pkg" / "learner.py", "helper(support)", "tools.other(support)")
    edit(site / "plug_pkg" / "learner.py", "tools.other()", "helper()")
    assert digest_of() != before


def test_a_package_in_several_folders_is_read_in_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, {"plug_ns/learner.py": "from plug_ns.rates import RATE\nlearner = RATE\n"})
    write(second, {"plug_ns/rates.py": "RATE = 1\n"})
    for folder in (first, second):
        monkeypatch.syspath_prepend(folder)
    before = digest_of("plug_ns.learner:learner")
    edit(second / "plug_ns" / "rates.py", "1", "2")
    assert digest_of("plug_ns.learner:learner") != before


EFFECTS = {
    "a call": ("import torch\ntorch.manual_seed(1)\n", "seed(1)", "seed(2)"),
    "an attribute": ("import torch\ntorch.relu = max\n", "max", "min"),
    "a loop": ("for n in range(3):\n    print(n)\n", "3", "4"),
    "a registry": (
        "TABLE = {}\ndef known(f):\n    TABLE[f.__name__] = f\n\n@known\ndef f():\n    return 1\n",
        "return 1",
        "return 2",
    ),
    "a base class that notes its subclasses": (
        "class B:\n    def __init_subclass__(cls): ...\n\nclass C(B):\n    x = 1\n",
        "x = 1",
        "x = 2",
    ),
    "an imported module": ("from . import effect\n", "", ""),
}


@pytest.mark.parametrize("effect", EFFECTS)
def test_what_an_imported_module_does_counts(site: Path, effect: str) -> None:
    text, old, new = EFFECTS[effect]
    package = site / "plug_pkg"
    if effect == "an imported module":
        write(package, {"deep/effect.py": "print(1)\n"})
    (package / "deep" / "inner.py").write_text(f"SCALE = 3\n{text}")
    before = digest_of()
    if effect == "an imported module":
        edit(package / "deep" / "effect.py", "1", "2")
    else:
        edit(package / "deep" / "inner.py", old, new)
    assert digest_of() != before


DYNAMIC = {
    "globals()": """
        def learner():
            return globals()["chosen"]

        def chosen():
            return 1
    """,
    "a module as a value": """
        from . import picks

        def learner(name):
            return getattr(picks, name)
    """,
    "a text": """
        LOADED = "plug_pkg.picks:chosen"

        def learner():
            return LOADED
    """,
    "a star": """
        from .picks import *

        def learner():
            return chosen()
    """,
    "the last of two stars": """
        from .tools import *
        from .picks import *

        def learner():
            return chosen()
    """,
    "an import that is wrapped": """
        from .picks import chosen

        chosen = [chosen]

        def learner():
            return chosen
    """,
    "a name that a comprehension uses too": """
        from .picks import chosen

        def learner(some):
            return [chosen for chosen in some], chosen
    """,
    "an import in a function": """
        def learner():
            from .picks import chosen
            return chosen()
    """,
    "a condition": """
        try:
            import absent
        except ImportError:
            absent = 1
        learner = absent
    """,
}


@pytest.mark.parametrize("form", DYNAMIC)
def test_definitions_that_are_not_named_plainly_are_found(site: Path, form: str) -> None:
    package = site / "plug_pkg"
    write(package, {"learner.py": DYNAMIC[form], "picks.py": "def chosen():\n    return 1\n"})
    (package / "tools.py").write_text("def chosen():\n    return 3\n")
    before = digest_of("plug_pkg.learner:learner")
    file = package / ("picks.py" if "picks" in DYNAMIC[form] else "learner.py")
    edit(file, "1", "2")
    assert digest_of("plug_pkg.learner:learner") != before


def test_a_local_name_is_not_the_definition_of_that_name(site: Path) -> None:
    text = "def rate():\n    return 1\n\n\ndef learner(rate):\n    return [rate for x in rate]\n"
    (site / "plug_pkg" / "learner.py").write_text(text)
    assert "plug_pkg.learner:rate" not in code_of("plug_pkg.learner:learner").definitions


def test_of_two_learners_in_one_file_only_the_changed_one_is_stale(site: Path) -> None:
    text = "class One:\n    x = 1\n\n\nclass Two:\n    x = 2\n"
    (site / "plug_pkg" / "learner.py").write_text(text)
    before = [digest_of(f"plug_pkg.learner:{name}") for name in ("One", "Two")]
    edit(site / "plug_pkg" / "learner.py", "x = 2", "x = 3")
    after = [digest_of(f"plug_pkg.learner:{name}") for name in ("One", "Two")]
    assert after[0] == before[0]
    assert after[1] != before[1]


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


def test_portions_that_pkgutil_adds_to_a_package_count(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extends = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    (site / "plug_pkg" / "__init__.py").write_text(extends)
    write(site / "plug_pkg", {"learner.py": "from .added import learner\n"})
    write(tmp_path / "second", {"plug_pkg/added.py": "def learner():\n    return 1\n"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "second")])
    before = digest_of("plug_pkg.learner:learner")
    edit(tmp_path / "second" / "plug_pkg" / "added.py", "1", "2")
    assert digest_of("plug_pkg.learner:learner") != before


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
    with pytest.raises(
        UsageError, match=r"cannot read .*c\.bin, which mine declares: No such file"
    ):
        code_of(spec, params={"weights": str(tmp_path / "c.bin")})


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


HOOK = """
import metabench
import pack.more
from pack.core import build


@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("mine", build=build)
"""
CORE = "from pack import table\n\n\ndef build(task):\n    return table.TABLE['f']\n"
TABLE = """
TABLE = {}


class Table(dict):
    def register(self, name, function=None):
        return lambda function: self.setdefault(name, function)


def register(name, function):
    TABLE[name] = function


HEADS = Table()
"""


@pytest.mark.parametrize(
    ("core", "more"),
    [
        pytest.param(CORE, "from pack.table import TABLE\n\nTABLE['f'] = 1\n", id="item"),
        pytest.param(CORE, "from pack import core\n\ncore.RATE = 1\n", id="attribute"),
        pytest.param(
            "import pack.more\nfrom pack.table import HEADS\n\n\ndef build(task):\n"
            "    return HEADS['f']\n",
            "from pack.table import HEADS\n\n\n@HEADS.register('f')\ndef f():\n    return 1\n",
            id="decorator of an object",
        ),
        pytest.param(
            "import pack.more\n" + CORE,
            "from pack.table import register\n\n\ndef f():\n    return 1\n\n\n"
            "f = register('f', f)\n",
            id="assigned call",
        ),
        pytest.param(
            "import pack.more\nfrom pack.table import HEADS\n\n\ndef build(task):\n"
            "    return HEADS['f']\n",
            "from pack.table import HEADS\n\nif HEADS is not None:\n\n"
            "    @HEADS.register('f')\n    def f():\n        return 1\n",
            id="decorator in a block",
        ),
        pytest.param(
            "from pack import nets\n\n\ndef build(task):\n    return getattr(nets, 'f')()\n",
            "def f():\n    return 1\n",
            id="re-exported",
        ),
        pytest.param(
            "from pack import nets\n\n\ndef build(task):\n    return nets.__dict__['f']()\n",
            "def f():\n    return 1\n",
            id="dictionary of a module",
        ),
        pytest.param(
            "import sys\nfrom pack.more import f\n\n\ndef build(task):\n"
            "    return getattr(sys.modules[__name__], 'f')()\n",
            "def f():\n    return 1\n",
            id="own module by name",
        ),
        pytest.param(
            "import pydoc\n\n\ndef build(task):\n    return pydoc.locate('pack.more.f')()\n",
            "def f():\n    return 1\n",
            id="dotted text",
        ),
        pytest.param(
            "from metabench.learner import load\n\n\ndef build(task):\n"
            "    return load('pack.more:F.f')()\n",
            "class F:\n    @staticmethod\n    def f():\n        return 1\n",
            id="target with an attribute",
        ),
        pytest.param(
            "try:\n    from pack.more import *\nexcept ImportError:\n    pass\n\n\n"
            "def build(task):\n    return f()\n",
            "def f():\n    return 1\n",
            id="star in a block",
        ),
        pytest.param(
            "from pack.more import *\n\n\ndef build(task):\n    return act(1)\n",
            "from math import log1p as act\n",
            id="star of another package's name",
        ),
        pytest.param(
            "import pack.more\nfrom pack.table import TABLE\n\nLIST = []\n\n\n"
            "def build(task):\n    return LIST\n",
            "import pack.core\nfrom pack.table import TABLE\n\n"
            "if __name__ != '__main__':\n    TABLE['f'] = 1\n",
            id="not as a script",
        ),
    ],
)
def test_what_plugins_do_when_they_are_imported_counts(
    core: str, more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registries, re-exports and names in texts, as packages of learners have them."""
    files = {
        "__init__.py": "",
        "hook.py": HOOK,
        "core.py": core,
        "table.py": TABLE,
        "more.py": more,
        "nets.py": "from pack.more import *\n",
    }
    write(tmp_path / "pack", files)
    monkeypatch.syspath_prepend(tmp_path)
    provided = {"module": "pack.hook", "origin": tmp_path / "pack" / "hook.py"}
    before = digest_of("pack.core:build", **provided)
    (tmp_path / "pack" / "more.py").write_text("# a comment\n" + more)
    assert digest_of("pack.core:build", **provided) == before
    (tmp_path / "pack" / "more.py").write_text(more.replace("1", "2"))
    assert digest_of("pack.core:build", **provided) != before


def test_a_plugin_file_in_a_package_counts_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "__init__.py": "",
        "learner.py": "from pack.layers import width\n\n\ndef build(task):\n    return width()\n",
        "layers.py": "def width():\n    return 1\n",
    }
    write(tmp_path / "pack", files)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "pack" / "learner.py"
    before = digest_of("nowhere:build", file)
    edit(tmp_path / "pack" / "layers.py", "1", "2")
    assert digest_of("nowhere:build", file) != before


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


def test_an_import_by_a_written_name_counts(site: Path) -> None:
    for line in (
        "importlib.import_module('plug_pkg.rates')",
        "importlib.import_module('.rates', __package__)",
        "import_module('plug_pkg.rates')",
        "__import__('plug_pkg.rates')",
    ):
        text = f"""
            import importlib
            from importlib import import_module

            def build(task):
                return {line}.RATE
        """
        write(site / "plug_pkg", {"asks.py": text, "rates.py": "RATE = 1\n"})
        before = digest_of("plug_pkg.asks:build")
        edit(site / "plug_pkg" / "rates.py", "1", "2")
        assert digest_of("plug_pkg.asks:build") != before, line


def test_subclasses_that_are_looked_up_count_in_the_module_of_their_base(site: Path) -> None:
    asks = (
        "from plug_pkg import kinds\n\ndef build(task):\n    return kinds.Base.__subclasses__()\n"
    )
    kinds = "class Base: ...\n\nclass Kind(Base):\n    rate = 1\n"
    write(site / "plug_pkg", {"asks.py": asks, "kinds.py": kinds})
    before = digest_of("plug_pkg.asks:build")
    edit(site / "plug_pkg" / "kinds.py", "rate = 1", "rate = 2")
    assert digest_of("plug_pkg.asks:build") != before


def test_parentheses_after_del_do_not_count(site: Path) -> None:
    write(site / "plug_pkg", {"asks.py": "def build(a, b):\n    del a, b\n"})
    before = digest_of("plug_pkg.asks:build")
    edit(site / "plug_pkg" / "asks.py", "del a, b", "del (a, b)")
    assert digest_of("plug_pkg.asks:build") == before


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
        from metabench.supervisor.request import Request, request_cells
        from metabench.suites.training_data import Material
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
        "metabench:",
    ),
    # Catalogue entries, of which what they declare counts.
    *("metabench.learner:Algorithm", "metabench.learner:kind_of", "metabench.suites.suite:Suite"),
)
