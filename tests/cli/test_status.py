"""`metabench status`: the results in a folder, and their states."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest
from results_factory import builtin_suite, make_environment, make_result, make_suite, store_results

from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.supervisor.request import Request
from metabench.supervisor.requested_cells import request_cells

CHANCE = "digits-5w1s/chance/default-s0-smoke-cpu.json"
STALE = "digits-5w1s/chance/default-s1-smoke-cpu.json"
BROKEN = "digits-5w1s/broken/default-s0-smoke-cpu.json"
ABSENT = "glyphs-5w1s/absent/default-s0-tasks=20-cpu.json"


def made_by_the_code_as_it_is(result: Result) -> Result:
    plugins = load_plugins(PluginSources(restrict=("builtin",)))
    request = Request(suites=[result.suite.name], algorithms=[result.job.algorithm])
    (cell,) = request_cells(request, plugins)
    assert cell.code is not None
    params = dict(cell.configured.params)
    job = msgspec.structs.replace(result.job, code=cell.code.digest, params=params)
    return msgspec.structs.replace(result, job=job)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Store results that are up to date, stale, failed, and made by an unknown plugin."""
    results = [
        made_by_the_code_as_it_is(make_result("chance", suite=builtin_suite(), scored=20)),
        make_result("chance", seed=1, suite=builtin_suite(), scored=20),
        make_result("broken", status="error", reason="ValueError: broken"),
        make_result(
            "absent",
            suite=make_suite("glyphs-5w1s"),
            budget="tasks=20",
            status="not_applicable",
            reason="no base data",
            environment=make_environment(plugins=["-p my.py"]),
        ),
    ]
    store_results(tmp_path / "results", results)
    return tmp_path / "results"


@pytest.mark.usefixtures("stored")
def test_every_result_has_a_line_and_states_are_counted(cli) -> None:
    outcome = cli("status")
    assert (outcome.code, outcome.err) == (0, "")
    title, columns, *rows = outcome.out.splitlines()
    assert title == "results: 1 ok, 1 stale, 2 unknown"
    assert columns.split() == ["file", "status", "reason"]
    assert [" ".join(row.split()) for row in rows] == [
        f"results/{BROKEN} error (unknown) ValueError: broken; no such plugin",
        f"results/{CHANCE} ok",
        f"results/{STALE} ok (stale)",
        f"results/{ABSENT} not_applicable (unknown) no base data; its plugin is not loaded; add "
        "-p my.py",
    ]


@pytest.mark.usefixtures("stored")
def test_a_line_can_be_pasted_behind_why(cli) -> None:
    file = cli("status", "--failed").out.splitlines()[2].split()[0]
    assert "reason: ValueError: broken" in cli("why", file).out


@pytest.mark.usefixtures("stored")
def test_only_failures(cli) -> None:
    title, _, *rows = cli("status", "--failed").out.splitlines()
    assert title == "results: 1 unknown"
    assert len(rows) == 1


def test_no_failure_is_said_so(cli, stored: Path) -> None:
    (stored / BROKEN).unlink()
    outcome = cli("status", "--failed")
    assert (outcome.code, outcome.out.splitlines()[0]) == (0, "results: none failed")


@pytest.mark.usefixtures("stored")
def test_json_has_the_same_facts(cli) -> None:
    rows = json.loads(cli("status", "--json").out)["cells"]
    by_file = {row["file"]: row for row in rows}
    assert by_file[STALE] == {
        "file": STALE,
        "suite": "digits-5w1s",
        "algorithm": "chance",
        "seed": 1,
        "budget": "smoke",
        "device": "cpu",
        "status": "ok",
        "stale": True,
        "code": "stale",
        "reason": "",
        "changed": ["unknown definitions, because no list of them was kept"],
        "plugins": "",
    }
    assert (by_file[CHANCE]["stale"], by_file[CHANCE]["code"]) == (False, "current")
    assert by_file[ABSENT]["reason"] == "no base data"
    assert (by_file[ABSENT]["stale"], by_file[ABSENT]["code"]) == (False, "unknown")


def test_a_damaged_file_is_a_warning_and_left_where_it_is(cli, stored: Path) -> None:
    (stored / CHANCE).write_text("half a resu")
    outcome = cli("status")
    assert outcome.code == 0
    assert outcome.err.startswith(f"metabench: warning: results/{CHANCE}: not a readable result (")
    assert outcome.err.count("\n") == 1
    assert CHANCE not in outcome.out
    assert (stored / CHANCE).exists()


@pytest.mark.parametrize("args", [(), ("--results", "none")])
def test_an_empty_folder_is_nothing_to_show(cli, args: tuple[str, ...]) -> None:
    outcome = cli("status", *args)
    folder = args[-1] if args else "results"
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        f"metabench: error: no results in '{folder}'; make some with: metabench run "
        f"-s digits-5w1s --budget smoke --results {folder}\n"
    )


def test_trial_results_are_pointed_at(cli, tmp_path: Path) -> None:
    store_results(tmp_path / "results-smoke", [make_result()])
    outcome = cli("status")
    assert outcome.code == 4
    assert outcome.err == (
        "metabench: error: no results in 'results', but there are some in 'results-smoke': "
        "add --results results-smoke\n"
    )
    assert Store(tmp_path / "results-smoke").paths() != []


def test_staleness_of_a_regression_result_depends_on_the_code_for_regression(
    cli, tmp_path: Path
) -> None:
    """`pretrained` declares other parameters and budgets for regression."""
    suite = make_suite("sinusoid-5s", way=1, metric="mse")
    fresh = made_by_the_code_as_it_is(make_result("pretrained", suite=suite))
    store_results(tmp_path / "results", [fresh])
    (cell,) = json.loads(cli("status", "--json").out)["cells"]
    assert (cell["algorithm"], cell["stale"]) == ("pretrained", False)


def test_a_recorded_plugin_is_quoted_for_the_shell(cli, tmp_path: Path) -> None:
    environment = make_environment(plugins=["-p 'my folder/x.py; touch y'", "-p $(touch\\ y)"])
    store_results(tmp_path / "results", [make_result("absent", environment=environment)])
    words = shlex.split(cli("status").out.partition("add ")[2])
    assert words == ["-p", "my folder/x.py; touch y", "-p", "$(touch y)"]
    assert "'$(touch y)'" in cli("status").out
