"""`metabench check NAME`: its output and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.running import PLUGIN
from cli.running import Outcome as CliOutcome

from metabench.checks import isolated_run
from metabench.checks.check_names import CHECKS, Outcome
from metabench.checks.check_runner import run_battery
from metabench.checks.checked_algorithm import find_subjects
from metabench.checks.isolated_run import Checked
from metabench.plugins.registry import load_plugins


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the battery in this process, which has imported torch already."""

    def check_here(name: str, sources: Any, seconds: float) -> Iterator[Checked | Outcome]:
        for subject in find_subjects(name, load_plugins(sources)):
            yield Checked(subject.configured.address, subject.kind, str(subject.file or ""))
            yield from run_battery(subject)

    monkeypatch.setattr(isolated_run, "check_apart", check_here)


def test_a_good_learner_passes(cli, in_process: None) -> None:
    outcome = cli("check", "-p", "my.py", "centroid")
    assert (outcome.code, outcome.err) == (0, "")
    title, *rows, summary = outcome.out.splitlines()
    assert title.startswith("centroid, classification (")
    assert title.endswith("my.py)")
    assert [row.split()[0] for row in rows] == list(CHECKS)
    assert {row.split()[1] for row in rows} <= {"passed", "skipped", "noted"}
    assert " passed, " in summary


def test_a_failure_shows_the_problem_its_place_and_advice(cli) -> None:
    outcome = cli("check", "-p", "my.py", "raises")
    assert outcome.code == 1
    assert "it raised ZeroDivisionError: no centroid today" in outcome.out
    assert "do: look at " in outcome.out
    assert "my.py, line " in outcome.out
    assert "Traceback" not in outcome.out
    assert outcome.out.splitlines()[-1].startswith("1 failed, ")


def test_debug_shows_the_traceback(cli, in_process: None) -> None:
    assert "Traceback" in cli("check", "-p", "my.py", "raises", "--debug").out


def test_json(cli, in_process: None) -> None:
    content = json.loads(cli("check", "-p", "my.py", "raises", "--json").out)
    assert content["schema"] == 1
    (checked,) = content["checked"]
    assert (checked["algorithm"], checked["kind"]) == ("raises", "classification")
    failed = [one for one in checked["checks"] if one["status"] == "failed"]
    assert [one["check"] for one in failed] == ["shapes"]


ENDS = """
import os, signal, sys, time
import metabench

print("loaded")


class Ends(metabench.Learner):
    how = "nothing"

    def adapt(self, support):
        os.write(1, b"adapting\\n")
        {"exit": lambda: sys.exit(0), "gone": lambda: os._exit(0), "never": lambda: time.sleep(99),
         "killed": lambda: os.kill(os.getpid(), signal.SIGSEGV)}[self.how]()

    def predict(self, state, query_x): ...


class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")


class Silent(Ends):
    def adapt(self, support):
        raise Mute


class Exit(Ends):
    how = "exit"


class Gone(Ends):
    how = "gone"


class Never(Ends):
    how = "never"


class Killed(Ends):
    how = "killed"


class Refuses(Ends):
    def __init__(self, task):
        raise metabench.NotApplicable("for photographs only")


@metabench.hookimpl
def metabench_algorithms():
    for kind in (Exit, Gone, Never, Killed, Silent, Refuses):
        yield metabench.Algorithm(kind.__name__.lower(), build=kind)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exit", "it raised SystemExit: 0"),
        ("gone", "the process ended (exit code 0)"),
        ("killed", "the process ended (killed by SIGSEGV)"),
        ("never", "it did not end within 3 s"),
        ("silent", "it raised Mute"),
    ],
)
def test_a_learner_that_ends_or_hangs_the_process_fails(
    cli, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "ends.py").write_text(ENDS)
    outcome = cli("check", "-p", "ends.py", name, "--time-limit", 3, "--json")
    assert outcome.code == 1
    checks = {one["check"]: one for one in json.loads(outcome.out)["checked"][0]["checks"]}
    assert list(checks) == list(CHECKS)
    assert (checks["shapes"]["status"], checks["shapes"]["message"]) == ("failed", said)
    assert checks["memory"]["status"] == "skipped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "said"),
    [("time.sleep(99)", "it did not end within 20 s"), ("os._exit(3)", "the process ended (exit")],
)
def test_checks_after_one_that_ends_or_hangs_the_process_go_on(
    cli, tmp_path: Path, end: str, said: str
) -> None:
    in_one = "any(frame.function == 'one_query' for frame in inspect.stack(0))"
    hangs = PLUGIN.replace(
        "return -torch.cdist", f"if {in_one}:\n            {end}\n        return -torch.cdist"
    )
    (tmp_path / "hangs.py").write_text(f"import inspect, os\n{hangs}")
    outcome = cli("check", "-p", "hangs.py", "centroid", "--time-limit", 20, "--json")
    checks = {one["check"]: one for one in json.loads(outcome.out)["checked"][0]["checks"]}
    assert list(checks) == list(CHECKS)
    failed = [name for name, one in checks.items() if one["status"] == "failed"]
    assert failed == ["one-query"]
    assert checks["one-query"]["message"].startswith(said)
    assert checks["one-query"]["seconds"] > 0
    assert checks["support-matters"]["status"] == "passed"


def test_a_limit_must_be_positive(cli) -> None:
    assert cli("check", "-p", "my.py", "centroid", "--time-limit", 0).code == 2


def test_nothing_to_check_is_no_success(cli, in_process: None, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(ENDS)
    outcome = cli("check", "-p", "ends.py", "refuses")
    assert outcome.code == 4
    assert "no check of refuses could run: for photographs only" in outcome.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("centroid[lr=1]", "unknown parameter of centroid 'lr'"),
        ("*", "'*' names "),
    ],
)
def test_mistakes_are_one_line(cli, in_process: None, name: str, said: str) -> None:
    assert_one_line(cli("check", "-p", "my.py", name), said)


@pytest.mark.slow
def test_a_mistake_that_the_separate_process_finds_is_one_line(cli) -> None:
    said = "unknown algorithm 'centrid': did you mean 'centroid'?"
    assert_one_line(cli("check", "-p", "my.py", "centrid"), said)


def assert_one_line(outcome: CliOutcome, said: str) -> None:
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert said in line
