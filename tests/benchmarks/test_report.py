"""The table, the JSON and the exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import limits, report
from benchmarks.limits import Limits
from benchmarks.options import Options, Refused, parse
from benchmarks.peers import PACKAGES, PLAIN
from benchmarks.rounds import Limit, Row

MACHINE = Limits(convolution=4e11, copy=4e10)
ROW = Row(
    "MAML",
    "s",
    [0.5, 0.5],
    {PLAIN: [1.0, 1.1], "higher": [2.0, 2.0]},
    {PLAIN: [1.5, 1.5], "higher": [2.0, 2.0]},
    target=2.0,
    limit=Limit("the floor", [0.25, 0.25], 3.0),
)


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "best", lambda options: MACHINE)


def test_a_row_shows_values_ratios_and_limits(tmp_path: Path) -> None:
    lines = report.markdown([ROW], MACHINE, Options(peers=tmp_path)).splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[:3]]
    assert cells[0][:4] == ["work", "ours", "plain loop", "higher"]
    assert cells[2] == [
        "MAML",
        "500 ms",
        "1050",
        "2000",
        "2.10x (2.00..2.20)",
        "2x",
        "3.00x (3.00..3.00)",
        "2.00 x the floor (at most 3)",
        "met",
    ]


def test_a_peer_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    notes = report.notes(MACHINE, Options(peers=tmp_path))
    for package in PACKAGES.values():
        assert f"{package.requirement} is missing" in notes


def test_everything_is_written_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "speed.json"
    options = Options(rounds=2, peers=tmp_path, json=file)
    assert report.main(lambda options: [ROW], options) == 0
    assert "MAML" in capsys.readouterr().out
    content = json.loads(file.read_text())
    assert content["limits"] == {"convolution": 4e11, "copy": 4e10}
    (row,) = content["rows"]
    assert row["peers"] == {PLAIN: [1.0, 1.1], "higher": [2.0, 2.0]}
    assert row["ratio"] == {"median": 2.1, "low": 2.0, "high": 2.2}
    assert row["met"] is True


def test_a_refusal_is_one_line_and_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(options: Options) -> Iterator[Row]:
        raise Refused("ours differs")
        yield ROW

    assert report.main(refused, Options()) == 1
    assert capsys.readouterr() == ("", "ours differs\n")


def test_a_benchmark_gets_its_own_options() -> None:
    options = parse("", lambda parser: parser.add_argument("--tasks", type=int), ["--tasks", "4"])
    assert options.own == {"tasks": 4}
    assert options.rounds == 5
