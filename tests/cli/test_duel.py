"""`metabench duel`: two learners timed in turns."""

from __future__ import annotations

import json

import pytest
from cli.running import PLUGIN

from metabench.gating import duel_rounds
from metabench.gating.duel_rounds import SideFailed

DUEL = ("duel", "-p", "my.py", "-s", "digits-5w1s", "--threads", "1")


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "my.py").write_text(PLUGIN)


def one_line_error(outcome) -> str:
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("centroid", "centriod"), "unknown algorithm 'centriod': did you mean 'centroid'?"),
        (("centroid", "projected[dimension=1|2]"), "names 2 algorithms: name one"),
        (("centroid", "c*"), "algorithms: name one"),
        (("centroid", "projected", "--rounds", "1"), "rounds=1: an interval needs at least 2"),
        (("centroid", "projected", "--budget", "huge"), "unknown budget 'huge'"),
        (("centroid", "projected", "--threads", "-1"), "threads=-1: must be at least 0"),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_mistakes_are_one_line(cli, arguments, message) -> None:
    assert message in one_line_error(cli(*DUEL, *arguments))


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
def test_a_duel_prints_the_ratio_of_every_phase_and_stores_nothing(cli, tmp_path) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    outcome = cli(*DUEL, "centroid", "projected", "--rounds", "2", "--json")
    assert outcome.code == 0
    assert outcome.err.splitlines() == ["[1/2] rounds", "[2/2] rounds"]
    content = json.loads(outcome.out)
    assert (content["a"], content["b"]) == ("centroid", "projected")
    found = {phase["phase"]: phase for phase in content["phases"]}
    assert found["meta-training"]["a_s"] is None
    assert found["meta-training"]["ratio"] is None
    for name in ("adapt", "predict", "episode, many at a time"):
        assert found[name]["ci95"][0] < found[name]["ratio"] < found[name]["ci95"][1]
        assert len(found[name]["ratios"]) == 2
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == before


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
def test_a_learner_against_itself_is_a_table_to_read(cli) -> None:
    outcome = cli(*DUEL, "centroid", "centroid", "--rounds", "2", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    title, columns, *rows = outcome.out.splitlines()
    assert title == "digits-5w1s: 2 rounds, budget smoke, cpu"
    assert columns.split()[:4] == ["phase", "A", "/", "B"]
    assert columns.endswith("A: centroid  B: centroid")
    assert [row.split()[0] for row in rows] == ["meta-training", "adapt", "predict", "episode,"]


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
def test_a_side_that_fails_is_named(cli) -> None:
    outcome = cli(*DUEL, "centroid", "raises", "--rounds", "2")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "metabench: failed: digits-5w1s raises seed 0: ZeroDivisionError: no centroid today\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [('device = "tpu"', "device 'tpu' is not available"), ('budget = "standard"', "standard")],
)
@pytest.mark.usefixtures("plugin")
def test_bench_toml_decides_what_the_command_line_leaves_open(
    cli, tmp_path, monkeypatch, line, message
) -> None:
    def refuse(cells, suites, settings, rounds, watch):
        raise SideFailed(f"{cells[0].budget.name}, {settings[0].time_limit} s", "")

    monkeypatch.setattr(duel_rounds, "run_duel", refuse)
    (tmp_path / "bench.toml").write_text(f"{line}\ntime_limit = 7.0\n")
    outcome = cli(*DUEL, "centroid", "centroid")
    assert message in outcome.err
    assert outcome.code == 2 or "7.0 s" in outcome.err
    given = cli(*DUEL, "centroid", "centroid", "--budget", "smoke", "--device", "cpu")
    assert "smoke, 7.0 s" in given.err
