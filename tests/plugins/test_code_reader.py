"""Definitions count if and only if a learner can reach them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from plugin_code import code_of, digest_of, edit, write


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
