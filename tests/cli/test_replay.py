"""`metabench replay FILE`: equal, within tolerance, or different, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli.running import PLUGIN, run_in
from results_factory import make_result, store_results

FILE = "base/digits-5w1s/centroid/default-s0-smoke-cpu.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "my.py").write_text(PLUGIN)
    run(folder, "centroid")
    store_results(folder / "base", [make_result("raises", status="error")])
    return folder


def run(folder: Path, algorithm: str) -> None:
    args = ("run", "-p", "my.py", "-s", "digits-5w1s", "--blocks", 2, "--results", "base")
    assert run_in(folder, *args, "-a", algorithm).code == 0


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


def edit(folder: Path, old: str, new: str) -> None:
    code = (folder / "my.py").read_text()
    assert old in code
    (folder / "my.py").write_text(code.replace(old, new))


@pytest.mark.slow
@pytest.mark.parametrize("file", [FILE, "base/digits-5w1s/projected/dimension=4-s0-smoke-cpu.json"])
def test_the_same_code_gives_the_same_bits(folder: Path, file: str) -> None:
    if file != FILE:
        run(folder, "projected[dimension=4]")
    before = (folder / file).read_bytes()
    outcome = run_in(folder, "replay", "-p", "my.py", file)
    assert outcome.code == 0, outcome.err
    verdict, differs = outcome.out.splitlines()
    assert verdict.startswith("equal: ")
    assert differs == "  differs: nothing recorded"
    assert (folder / file).read_bytes() == before
    assert {p.name for p in folder.iterdir()} - {"__pycache__"} == {"my.py", "base"}


@pytest.mark.slow
def test_a_change_of_the_last_digits_is_within_tolerance(folder: Path) -> None:
    code = (folder / "my.py").read_text()
    (folder / "my.py").write_text(
        code.replace("query_x.flatten(1), c", "query_x.flatten(1) + 1e-6, c")
    )
    outcome = run_in(folder, "replay", "-p", "my.py", FILE)
    assert outcome.code == 0
    assert outcome.out.startswith("within tolerance: ")
    assert "  differs: code " in outcome.out


@pytest.mark.slow
def test_another_score_is_different_and_says_what_else_is(folder: Path) -> None:
    code = (folder / "my.py").read_text()
    (folder / "my.py").write_text(
        code.replace("query_x.flatten(1), c", "query_x.flatten(1).roll(1), c")
    )
    outcome = run_in(folder, "replay", "-p", "my.py", "--threads", 1, "--json", FILE)
    assert outcome.code == 1
    found = json.loads(outcome.out)
    assert found["verdict"] == "different"
    assert found["now"] < found["then"]
    assert found["differs"][0].startswith("code ")


@pytest.mark.slow
def test_a_cell_that_fails_now_is_different(folder: Path) -> None:
    edit(folder, "return -torch.cdist", "return -torch.cidst")
    outcome = run_in(folder, "replay", "-p", "my.py", FILE)
    assert outcome.code == 1
    assert "then, now error: AttributeError" in outcome.out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("nowhere.json",), 2, "cannot read nowhere.json"),
        (("my.py",), 2, "my.py is not a readable result"),
        ((FILE,), 2, "unknown algorithm 'centroid'"),
        (
            ("-p", "my.py", FILE.replace("centroid", "raises")),
            4,
            "the result has no scores (error); try metabench run --retry-failed",
        ),
    ],
)
def test_mistakes_are_one_line(made: Path, args: tuple[str, ...], code: int, said: str) -> None:
    outcome = run_in(made, "replay", *args)
    assert outcome.code == code
    (line,) = outcome.err.splitlines()
    assert said in line


def test_bench_toml_limits_the_time_of_a_replay(folder: Path) -> None:
    (folder / "bench.toml").write_text("time_limit = 0.001\n")
    outcome = run_in(folder, "replay", "-p", "my.py", FILE)
    assert outcome.code == 1
    assert "over the time limit" in outcome.out
