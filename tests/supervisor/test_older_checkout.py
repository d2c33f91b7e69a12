"""Another version of the code is that of its folder, built-in algorithms included."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.supervisor.older_checkout import OlderCheckout
from metabench.supervisor.request import Request
from metabench.supervisor.requested_cells import request_cells

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> OlderCheckout:
    """A copy of metabench in which the built-in algorithm `cnn-adam` has changed."""
    for name in ("metabench", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.xz"))
    file = tmp_path / "plugins" / "cnn_adam.py"
    file.write_text(file.read_text().replace("steps: int = 7", "steps: int = 8"))
    return OlderCheckout(tmp_path, Path.cwd())


def test_the_built_in_algorithms_are_its_own(checkout: OlderCheckout) -> None:
    sources = PluginSources(restrict=("builtin",))
    request = Request(suites=("digits-5w1s",), algorithms=("cnn-adam", "chance"))
    for cell in request_cells(request, load_plugins(sources)):
        assert cell.code is not None
        found = checkout.code(sources, cell)
        assert found.origin == str(checkout.root / "plugins" / "__init__.py")
        assert (found.digest == cell.code.digest) == (cell.configured.algorithm.name == "chance")


def test_code_that_cannot_be_loaded_is_one_line(checkout: OlderCheckout) -> None:
    sources = PluginSources(restrict=("builtin",))
    (cell,) = request_cells(
        Request(suites=("digits-5w1s",), algorithms=("chance",)), load_plugins(sources)
    )
    (checkout.root / "plugins" / "__init__.py").write_text("import no_such_module\n")
    with pytest.raises(UsageError, match=r"has no chance that can be run: .*no_such_module"):
        checkout.code(sources, cell)
