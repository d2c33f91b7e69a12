"""`metabench check NAME`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.running import PLUGIN

from metabench.conformance.names import NAMES


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, same_threads: None) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)


def test_a_good_learner_passes(cli) -> None:
    outcome = cli("check", "-p", "my.py", "centroid")
    assert (outcome.code, outcome.err) == (0, "")
    title, *rows, summary = outcome.out.splitlines()
    assert title.startswith("centroid, classification (")
    assert title.endswith("my.py)")
    assert [row.split()[0] for row in rows] == list(NAMES)
    assert {row.split()[1] for row in rows} <= {"passed", "skipped", "noted"}
    assert " passed, " in summary


def test_a_failure_says_what_where_and_what_to_do(cli) -> None:
    outcome = cli("check", "-p", "my.py", "raises")
    assert outcome.code == 1
    assert "it raised ZeroDivisionError: no centroid today" in outcome.out
    assert "do: look at " in outcome.out
    assert "my.py, line " in outcome.out
    assert "Traceback" not in outcome.out
    assert outcome.out.splitlines()[-1].startswith("1 failed, ")
    assert "Traceback" in cli("check", "-p", "my.py", "raises", "--debug").out


def test_json(cli) -> None:
    content = json.loads(cli("check", "-p", "my.py", "raises", "--json").out)
    assert content["schema"] == 1
    (checked,) = content["checked"]
    assert (checked["algorithm"], checked["kind"]) == ("raises", "classification")
    failed = [one for one in checked["checks"] if one["status"] == "failed"]
    assert [one["check"] for one in failed] == ["shapes"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("centrid",), "unknown algorithm 'centrid': did you mean 'centroid'?"),
        (("centroid[lr=1]",), "unknown parameter of centroid 'lr'"),
        (("*",), "'*' names "),
    ],
)
def test_mistakes_are_one_line(cli, args, said: str) -> None:
    outcome = cli("check", "-p", "my.py", *args)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert said in line
