from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from results_factory import builtin_suite, make_result

from metabench.plugins.code_digest import Code
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.plugins.staleness import changes, code_state, current_codes, is_stale
from metabench.suites.suite import Suite
from metabench.supervisor.cell_result import suite_facts
from metabench.supervisor.request import Request
from metabench.supervisor.requested_cells import request_cells


def digits_folder(folder: Path) -> str:
    """The address of a suite over images of single grey values."""
    for c in range(12):
        for i in range(4):
            file = folder / f"class-{c}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 10 * c + i, dtype=np.uint8)).save(file)
    return f"folder:{folder}[way=2,query=1,episodes=3]"


@pytest.mark.parametrize("suite", ["digits-5w1s", "trained elsewhere", "folder", "from arrays"])
def test_a_results_code_is_that_of_its_cell(tmp_path: Path, suite: str) -> None:
    named = {"folder": digits_folder(tmp_path), "trained elsewhere": "glyphs-5w1s"}.get(
        suite, suite
    )
    asked: str | Suite = named
    if suite == "from arrays":
        x, y = np.arange(48 * 64, dtype=np.uint8).reshape(48, 8, 8), np.arange(48) // 4
        asked = Suite.from_arrays(x, y, way=2, query=1, episodes=3, data_root=tmp_path)
    elsewhere = "glyphs-5w5s" if suite == "trained elsewhere" else ""
    plugins = load_plugins(PluginSources(restrict=("builtin",)))
    request = Request([asked], ["chance"], train_on=elsewhere, data_root=str(tmp_path))
    (cell,) = request_cells(request, plugins)
    facts = suite_facts(cell, cell.suite.open(tmp_path), None)
    result = msgspec.structs.replace(make_result("chance"), suite=facts)
    ((_, code),) = current_codes(plugins, [result])
    # Of a suite that was made in Python, nobody knows the code later.
    assert code == (None if suite == "from arrays" else cell.code)


@pytest.mark.parametrize(
    ("params", "name"),
    [({"weights": "last.pt"}, "weights"), ({"backbone": "body[weights=last.pt]"}, "body:weights")],
)
def test_without_a_file_that_a_parameter_names_nobody_knows(
    params: dict[str, str], name: str
) -> None:
    result = make_result("chance")
    code = Code("0" * 64, {}, {}, frozenset())
    job = msgspec.structs.replace(result.job, params=params, files={name: "1" * 64})
    named = msgspec.structs.replace(result, job=job)
    assert (code_state(named, code), is_stale(named, code)) == ("unknown", False)
    found = dataclasses.replace(code, files={name: "2" * 64})
    assert (code_state(named, found), is_stale(named, found)) == ("stale", True)
    dropped = msgspec.structs.replace(named, job=msgspec.structs.replace(job, params={}))
    assert is_stale(dropped, code)  # no longer declared: the code is another


def test_changes_names_what_differs_and_not_what_was_moved() -> None:
    before = {"a:f": "1", "a:g": "2", "a:gone": "3", "a:moved": "4"}
    now = {"a:f": "1", "a:g": "5", "b:moved": "4", "a:added": "6"}
    assert changes(before, now) == ["a:g", "a:added (new)", "a:gone (gone)"]


@pytest.mark.parametrize("address", ["x", "later:x", "=1+1", "[a=b", "/etc/passwd"])
def test_the_code_of_a_suite_whose_address_is_not_known_here_is_unknown(address: str) -> None:
    plugins = load_plugins(PluginSources(restrict=("builtin",)))
    facts = msgspec.structs.replace(make_result().suite, address=address)
    result = msgspec.structs.replace(make_result("chance"), suite=facts)
    ((_, code),) = current_codes(plugins, [result])
    assert code_state(result, code) == "unknown"


@pytest.mark.parametrize("fact", ["way", "shot", "query", "episodes"])
def test_the_code_of_a_suite_that_the_catalogue_defines_otherwise_is_unknown(fact: str) -> None:
    plugins = load_plugins(PluginSources(restrict=("builtin",)))
    facts = builtin_suite()
    other = msgspec.structs.replace(facts, **{fact: getattr(facts, fact) + 1})
    results = [msgspec.structs.replace(make_result("chance"), suite=one) for one in (facts, other)]
    codes = current_codes(plugins, results)
    assert [code is None for _, code in codes] == [False, True]
