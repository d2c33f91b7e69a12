"""The plan of `metabench run`: names, sweeps, shards, `bench.toml`, and mistakes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from cli.running import PLUGIN

ONE = ("run", "-s", "digits-5w1s", "-a", "chance")


@pytest.fixture
def planned(cli, tmp_path: Path):
    """The lines of a plan, without its title and columns."""

    def plan(*args: str) -> list[str]:
        outcome = cli("run", "--dry-run", *args)
        assert (outcome.code, outcome.err) == (0, "")
        assert [p for p in tmp_path.iterdir() if p.name.startswith("results")] == []
        title, columns, *rows = outcome.out.splitlines()
        assert columns.split() == ["suite", "algorithm", "seed", "budget", "state", "plan"]
        assert title.startswith(f"{len(rows)} cells, ")
        return [" ".join(row.split()) for row in rows]

    return plan


def test_a_dry_run_prints_the_plan_and_stores_nothing(planned) -> None:
    assert planned("-s", "digits-5w1s", "-a", "pixel-1nn", "-a", "chance", "--seeds", "2") == [
        "digits-5w1s pixel-1nn 0 smoke new run",
        "digits-5w1s chance 0 smoke new run",
        "digits-5w1s chance 1 smoke new run",
    ]


def test_the_default_needs_no_arguments(planned) -> None:
    found = planned()
    suites = {"digits-5w1s", "glyphs-5w1s", "glyphs-5w5s", "sinusoid-5s"}
    assert {row.split()[0] for row in found} == suites
    assert {row.split()[3] for row in found} == {"smoke"}


def test_sweeps_and_globs_are_spelt_out(planned, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    found = planned("-p", "my.py", "-s", "digits-5w*", "-a", "proj*[dimension=4|8]")
    assert found == [
        "digits-5w1s projected[dimension=4] 0 smoke new run",
        "digits-5w1s projected 0 smoke new run",
        "digits-5w5s projected[dimension=4] 0 smoke new run",
        "digits-5w5s projected 0 smoke new run",
    ]


def test_shards_are_disjoint_and_complete(planned) -> None:
    everything = planned("-s", "digits-*")
    parts = [planned("-s", "digits-*", "--shard", f"{i}/2") for i in (1, 2)]
    assert sorted(parts[0] + parts[1]) == sorted(everything)
    assert 0 < len(parts[0]) < len(everything)


def test_trial_runs_have_a_folder_of_their_own(cli) -> None:
    assert "into results-smoke/" in cli(*ONE, "--dry-run").out
    assert "into results/" in cli(*ONE, "--dry-run", "--budget", "standard").out
    assert "into here/" in cli(*ONE, "--dry-run", "--results", "here").out


class TestConfig:
    CONFIG = """
        suites = ["digits-5w5s"]
        algorithms = ["chance"]
        seeds = 2
        budget = "tasks=20"
        results = "elsewhere"
        """

    @pytest.fixture(autouse=True)
    def config(self, tmp_path: Path) -> Path:
        file = tmp_path / "bench.toml"
        file.write_text(self.CONFIG)
        return file

    def test_bench_toml_is_used_where_it_lies(self, planned, cli) -> None:
        assert planned() == [
            "digits-5w5s chance 0 tasks=20 new run",
            "digits-5w5s chance 1 tasks=20 new run",
        ]
        assert "into elsewhere/" in cli("run", "--dry-run").out

    def test_options_stand_above_it(self, planned, cli) -> None:
        found = planned("-a", "pixel-1nn", "--budget", "smoke", "--results", "here")
        assert found == ["digits-5w5s pixel-1nn 0 smoke new run"]
        assert "into here/" in cli("run", "--dry-run", "--results", "here").out

    def test_another_file_can_be_named(self, planned, config: Path) -> None:
        config.rename(config.with_name("other.toml"))
        assert len(planned("--config", "other.toml")) == 2

    def test_its_plugins_come_first(self, planned, config: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(PLUGIN)
        config.write_text('plugins = ["mine.py"]\nsuites = ["digits-5w1s"]\n')
        found = planned("-a", "centroid", "-p", "no:nothing-by-this-name", "-q")
        assert found == ["digits-5w1s centroid 0 smoke new run"]

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ('algoritms = ["a"]', "unknown key in bench.toml 'algoritms': did you mean"),
            ("suites = 5", "bench.toml: suites=5: write a list of strings"),
            ("threads = -1", "bench.toml: threads=-1: must be at least 0"),
            ("seeds =", "bench.toml is not valid TOML: "),
        ],
    )
    @pytest.mark.parametrize("verb", [("run", "--dry-run"), ("status",), ("list",)])
    def test_a_mistake_in_it_is_one_line_of_every_verb(
        self, cli, config: Path, verb: tuple[str, ...], text: str, error: str
    ) -> None:
        config.write_text(text)
        outcome = cli(*verb)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith(f"metabench: error: {error}")
        assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["-s", "digit-5w1s"], "unknown suite 'digit-5w1s': did you mean 'digits-5w1s'?"),
        (["-a", "protonett"], "unknown algorithm 'protonett': did you mean 'protonet'?"),
        (["-a", "protonet[lrr=1]"], "unknown parameter of protonet 'lrr': did you mean 'lr'?"),
        (["-a", "protonet[lr=nan]"], "protonet[lr=nan]: must be a finite number"),
        (["--budget", "smok"], "unknown budget 'smok': did you mean 'smoke'?"),
        (["--device", "abacus"], "device 'abacus' is not available here; available: cpu"),
        (["--shard", "3/2"], "shard '3/2': write i/n with 1 <= i <= n"),
        (["--seeds", "0"], "seeds=0: must be at least 1"),
        (["--seeds", "x"], "Invalid value for '--seeds': 'x' is not a valid integer."),
        (["-j", "0"], "jobs=0: must be at least 1"),
        (["--time-limit", "-1"], "time_limit=-1: must be at least 0"),
        (["--config", "none.toml"], "cannot read none.toml: No such file or directory"),
        (["-p", "none.py"], "-p {cwd}/none.py: no such file"),
        (["-s", "manifest:none.json"], "cannot read {cwd}/none.json: No such file"),
        (["-s", "folder:none"], "there is no folder {cwd}/none: name a folder with"),
        (["--train-on", "digits-5w*"], "'digits-5w*' matches digits-5w1s, digits-5w5s: name one"),
        (
            ["--train-on", "glyphs-5w1s"],
            "--train-on glyphs-5w1s: its images have shape (1, 28, 28), those of digits-5w1s "
            "(1, 8, 8)",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_stored(
    cli, tmp_path: Path, args: list[str], error: str
) -> None:
    outcome = cli(*ONE, *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"metabench: error: {error.format(cwd=tmp_path)}")
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_how_long_it_may_take(cli, tmp_path: Path, chance_run: Path) -> None:
    assert ", 1 to run, 1 never run before, into " in cli(*ONE, "--dry-run").out
    shutil.copytree(chance_run, tmp_path, dirs_exist_ok=True)
    again = cli(*ONE, "--force", "--dry-run").out.splitlines()[0]
    assert re.match(
        r"1 cells, 1 to run, about [\d.]+ s by the times of earlier results, into ", again
    )


def test_results_that_cannot_be_written_are_known_before_a_cell_runs(cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome = cli(*ONE, "--results", "file/results")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "metabench: error: cannot write file/results: Not a directory; choose another folder "
        "with --results\n"
    )


def test_without_algorithms_there_is_nothing_to_run(cli, monkeypatch) -> None:
    monkeypatch.setenv("METABENCH_PLUGINS", "")
    outcome = cli("run", "-s", "digits-5w1s")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        "metabench: error: there is no algorithm to run; see metabench list algorithms\n"
    )
