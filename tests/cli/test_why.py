"""`metabench why FILE`: the contents of a result file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from results_factory import make_environment, make_result, make_suite, store_results

from metabench.results.result_file import decode
from metabench.results.schema import Evidence, Failure, Properties
from metabench.results.store import Store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    suite = make_suite(query=3, episodes=4)
    result = make_result(suite=suite, correct=[15, 15, 0, 0], chosen={"lr": 0.5})
    (path,) = store_results(tmp_path / "results", [result])
    return Path("results") / path


def test_a_score_comes_with_where_it_comes_from(cli, file: Path) -> None:
    outcome = cli("why", file)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    for line in (
        "status: ok",
        "  name: digits-5w1s",
        "  algorithm: protonet",
        "  chosen: {'lr': 0.5}",
        "  updates: 50",
        "  cpu: Example CPU",
        "  commit: 0123456789abcdef",
        "parameters: 111936",
        "wall_s: 20.0",
        "score: 0.5 over 4 episodes",
    ):
        assert line in lines


def test_json_is_the_file_itself(cli, file: Path) -> None:
    assert cli("why", file, "--json").out.encode() == file.read_bytes()


@pytest.mark.parametrize("where", ["above", "inside"])
def test_a_failure_comes_with_traceback_and_log(cli, tmp_path, monkeypatch, where: str) -> None:
    log = "logs/digits-5w1s/broken/default-s0-smoke-cpu.log"
    result = msgspec.structs.replace(
        make_result("broken", status="error"),
        failure=Failure(
            reason="ValueError: broken", traceback="Traceback ...\nValueError: broken\n", log=log
        ),
    )
    (path,) = store_results(tmp_path / "results", [result])
    if where == "inside":
        monkeypatch.chdir(tmp_path / "results" / path.parent)
    outcome = cli("why", f"results/{path}" if where == "above" else path.name)
    assert outcome.code == 0
    assert outcome.out.endswith(
        f"reason: ValueError: broken\nlog: {tmp_path / 'results' / log} (missing)\n"
        "  Traceback ...\n  ValueError: broken\n"
    )
    assert "score" not in outcome.out


def test_definitions_that_have_changed_since_are_named(
    cli, tmp_path: Path, chance_run: Path
) -> None:
    shutil.copytree(chance_run, tmp_path, dirs_exist_ok=True)
    file = "results-smoke/digits-5w1s/chance/default-s0-smoke-cpu.json"
    assert "code changed" not in cli("why", file).out
    store = Store(tmp_path / "results-smoke")
    result = store.load(Path(*Path(file).parts[1:]))
    assert result is not None
    definitions = store.load_code(result.job.code)
    assert definitions is not None
    learner, gone = "metabench_plugins.floors:Chance", "metabench.nets.gone:layer"
    store.write_code("0" * 64, {**definitions, learner: "other", gone: "other"})
    older = replace(result, job=replace(result.job, code="0" * 64))
    store.write(Path(*Path(file).parts[1:]), older)
    lines = [line for line in cli("why", file).out.splitlines() if line.startswith("code changed")]
    assert lines == [f"code changed since: {learner}", f"code changed since: {gone} (gone)"]
    row = cli("status", "-v", "--results", "results-smoke").out.splitlines()[2]
    assert row.split(None, 3)[3] == f"{learner}; {gone} (gone)"


def test_a_missing_file_is_one_line_that_says_where_to_look(cli) -> None:
    assert cli("why", "none.json") == (
        2,
        "",
        "metabench: error: cannot read none.json: No such file or directory; "
        "`metabench status` lists the files\n",
    )


def test_a_damaged_file_is_one_line(cli, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])
    outcome = cli("why", file)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"metabench: error: {file} is not a readable result: ")
    assert outcome.err.count("\n") == 1


def test_long_values_are_cut_but_json_has_them(cli, tmp_path: Path) -> None:
    suite = make_suite(episodes=500)
    timed = make_result(suite=suite, adapt_s=[0.001] * 500, correct=[9] * 500, f1=[0.5] * 500)
    file = Store(tmp_path).write(Path("a/b/c.json"), timed)
    assert "  adapt_s: 500 samples, median 1.00 ms, IQR / median 0.0%\n" in cli("why", file).out
    assert max(map(len, cli("why", file).out.splitlines())) < 250
    assert decode(cli("why", file, "--json").out.encode()) == timed


def test_the_evidence_for_a_flag_is_shown_in_full(cli, tmp_path: Path) -> None:
    found = [Evidence(probe=probe, queries=75, deviation=0.1, flipped=0.0) for probe in "abcdef"]
    measured = Properties(
        inductive=False,
        isolated=True,
        independent=True,
        episodes=6,
        evidence=found,
        problem="one query alone: ValueError",
    )
    result = replace(make_result(), properties=measured)
    out = cli("why", Store(tmp_path).write(Path("a/b/c.json"), result)).out
    assert [line.split(",")[0] for line in out.splitlines() if "probe " in line] == [
        f"  evidence: probe {probe}" for probe in "abcdef"
    ]
    assert "  inductive: False\n  problem: one query alone: ValueError\n" in out
    assert out.count("problem: one query") == 1


def test_a_file_that_was_changed_is_said_so(cli, file: Path) -> None:
    assert "altered" not in cli("why", file).out
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "wall_s": 1e-3}))
    assert cli("why", file).out.startswith("altered: the file has changed since metabench wrote it")


def test_a_file_of_a_newer_version_is_named_as_such(cli, file: Path) -> None:
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    outcome = cli("why", file)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "made by a newer version of metabench" in outcome.err


def test_json_is_json_whatever_is_in_the_file(cli, file: Path) -> None:
    content = json.loads(file.read_text())
    content["job"]["provider"] = "\x9b31m\u202e"
    file.write_text(json.dumps(content, ensure_ascii=False))
    assert json.loads(cli("why", file, "--json").out) == content
    file.write_bytes(file.read_bytes().replace(b"31m", b"3\xefm"))
    assert "3\ufffdm" in json.loads(cli("why", file, "--json").out)["job"]["provider"]


def test_json_of_an_altered_file_comes_with_a_warning(cli, file: Path) -> None:
    file.write_text(file.read_text().replace("Example CPU", "Other \u202eCPU"))
    outcome = cli("why", file, "--json")
    assert outcome.err == f"metabench: warning: {file}: changed since metabench wrote it\n"
    assert "\u202e" not in outcome.out
    assert json.loads(outcome.out)["environment"]["cpu"] == "Other \u202eCPU"


@pytest.mark.parametrize("log", ["a" * 5000, "a\0b"])
def test_text_from_a_stranger_begins_no_line(cli, tmp_path: Path, log: str) -> None:
    text = "\nmetabench: error: forged"
    result = make_result("broken", status="error", environment=make_environment(cpu=text))
    failure = Failure(reason=text, traceback=text, log=log)
    dataset = replace(result.suite, dataset=text)
    forged = replace(result, failure=failure, suite=dataset)
    (path,) = store_results(tmp_path / "results", [forged])
    outcome = cli("why", tmp_path / "results" / path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "(missing)" in outcome.out
    assert not [line for line in outcome.out.splitlines() if line.startswith("metabench")]
    assert max(map(len, outcome.out.splitlines())) < 250
