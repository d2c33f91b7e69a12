"""`metabench leaderboard` prints, writes and checks the tables of a results folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click import unstyle
from results_factory import builtin_suite, make_result, make_suite, store_results

import metabench
from metabench.cli.options import Common
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.tables import formats
from metabench.tables.leaderboard_frame import read, with_code_state
from metabench.tables.ranked_tables import build_tables

REPORTER = """
import metabench

@metabench.hookimpl
def metabench_report(results, out):
    (out / "report.txt").write_text(f"{len(results)} results")
"""

BROKEN_REPORTER = """
import metabench

@metabench.hookimpl
def metabench_report(results):
    raise RuntimeError("no ink")
"""


@pytest.fixture
def stored(cli):
    """Results in ./results, the folder of the `cli` fixture."""
    store_results(
        Path("results"),
        [
            make_result("protonet"),
            make_result("maml", accuracy=0.5),
            make_result("maml", budget="standard"),
            make_result("protonet", suite=make_suite("glyphs-5w1s")),
            make_result("broken", status="error"),
        ],
    )


def rendered(name, folder="results", links=""):
    """Return the printed text; with `links` to the results folder, the content of a file."""
    cells, _ = read(folder)
    return formats.render(name, build_tables(with_code_state(cells, load_plugins())), links)


@pytest.mark.usefixtures("stored")
class TestWithResults:
    def test_a_pipe_gets_markdown(self, cli):
        assert cli("leaderboard") == (0, rendered("md"), "")

    @pytest.mark.parametrize("name", formats.FORMATS)
    def test_each_format_is_printed(self, cli, name):
        assert cli("leaderboard", "--format", name) == (0, rendered(name), "")

    def test_json_has_an_option_of_its_own(self, cli):
        assert cli("leaderboard", "--json").out == rendered("json")

    def test_two_formats_at_once_are_an_error(self, cli):
        outcome = cli("leaderboard", "--json", "--format", "csv")
        assert outcome.code == 2
        assert "--json" in outcome.err

    def test_suites_and_budget_choose_the_tables(self, cli):
        def chosen(*args):
            content = json.loads(cli("leaderboard", "--json", *args).out)
            return [(suite["suite"], suite["budget"]) for suite in content["suites"]]

        assert chosen("-s", "glyphs-*") == [("glyphs-5w1s", "smoke")]
        assert chosen("--budget", "standard") == [("digits-5w1s", "standard")]
        assert len(chosen("-s", "glyphs-*", "-s", "digits-*")) == 3

    def test_filters_without_a_match_list_suites_and_budgets(self, cli):
        code, out, err = cli("leaderboard", "-s", "omniglot-*")
        assert (code, out) == (4, "")
        assert err.count("\n") == 1
        for name in ("digits-5w1s", "glyphs-5w1s", "smoke", "standard"):
            assert name in err

    @pytest.mark.parametrize("name", formats.FORMATS)
    def test_a_file_is_written_in_the_format_of_its_suffix(self, cli, name):
        file = Path(f"leaderboard.{name}")
        code, out, err = cli("leaderboard", "-o", file)
        assert (code, out, err) == (0, "", f"wrote {file}\n")
        assert file.read_text(encoding="utf-8") == rendered(name, links="results")

    def test_stdout_gets_markdown(self, cli):
        assert cli("leaderboard", "-o", "-") == (0, rendered("md", links="results"), "")

    @pytest.mark.parametrize("folder", [".", "docs/deep"])
    def test_every_row_links_to_its_files(self, cli, folder):
        file = Path(folder) / "leaderboard.md"
        assert cli("leaderboard", "-o", file).code == 0
        targets = re.findall(r"\]\((.*?)\)", file.read_text())
        assert len(targets) == file.read_text().count("](") > 3
        for target in targets:
            assert list((file.parent / target).glob("*.json")), target
        assert cli("leaderboard", "--check", "-o", file).code == 0

    def test_quiet_writes_without_a_message(self, cli):
        assert cli("leaderboard", "-q", "-o", "leaderboard.md") == (0, "", "")

    def test_a_given_format_overrides_the_suffix(self, cli):
        cli("leaderboard", "-o", "table.txt", "--format", "csv")
        assert Path("table.txt").read_text() == rendered("csv", links="results")

    def test_an_unknown_suffix_is_an_error(self, cli):
        code, _, err = cli("leaderboard", "-o", "table.txt")
        assert code == 2
        assert "table.txt" in err
        assert not Path("table.txt").exists()

    def test_a_file_that_cannot_be_written_is_one_line(self, cli):
        Path("taken").write_text("")
        code, _, err = cli("leaderboard", "-o", "taken/leaderboard.md")
        assert code == 2
        assert err.count("\n") == 1
        assert "taken" in err

    def test_plugins_write_reports_only_if_a_file_is_written(self, cli):
        Path("reporter.py").write_text(REPORTER)
        cli("leaderboard", "-p", "reporter.py")
        assert not Path("report.txt").exists()
        cli("leaderboard", "-p", "reporter.py", "-o", "out/leaderboard.md", "-s", "digits-*")
        assert Path("out/report.txt").read_text() == "4 results"

    def test_a_reporter_that_fails_is_a_warning(self, cli):
        Path("reporter.py").write_text(BROKEN_REPORTER)
        code, _, err = cli("leaderboard", "-p", "reporter.py", "-o", "leaderboard.md")
        assert code == 0
        assert "no ink" in err
        assert Path("leaderboard.md").exists()

    def test_check_accepts_a_file_that_is_up_to_date(self, cli):
        cli("leaderboard", "-o", "leaderboard.md")
        assert cli("leaderboard", "--check") == (0, "", "")

    def test_check_rejects_a_number_typed_by_hand_and_writes_nothing(self, cli):
        cli("leaderboard", "-o", "leaderboard.md")
        file = Path("leaderboard.md")
        edited = file.read_text(encoding="utf-8").replace("protonet", "mine")
        file.write_text(edited, encoding="utf-8")
        code, out, err = cli("leaderboard", "--check")
        assert code == 1
        assert "metabench leaderboard -o leaderboard.md" in err
        changed = [line for line in out.splitlines() if "`mine`" in line or "`protonet`" in line]
        assert {line[0] for line in changed} == {"-", "+"}
        assert len(out.splitlines()) < 20
        assert file.read_text(encoding="utf-8") == edited

    def test_check_without_a_file_says_how_to_make_it(self, cli):
        code, _, err = cli("leaderboard", "--check", "-o", "other.csv")
        assert code == 1
        assert "other.csv does not exist" in err

    def test_a_damaged_file_is_named_on_stderr_and_the_rest_is_shown(self, cli):
        damaged = Path("results/digits-5w1s/maml/default-s0-smoke-cpu.json")
        damaged.write_text("{")
        code, out, err = cli("leaderboard")
        assert code == 0
        assert damaged.name in err
        assert "protonet" in out

    def test_a_terminal_gets_ruled_tables_with_the_same_figures(self, cli, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        code, out, _ = cli("leaderboard")
        assert code == 0
        assert "━" in out
        assert "# Leaderboard" not in out
        best = metabench.leaderboard().iloc[0]
        half = (best["ci95_high"] - best["ci95_low"]) / 2
        assert f"{100 * best['score']:.2f} ± {100 * half:.2f}" in out
        assert "error: ZeroDivisionError: division by zero" in out

    def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers(self, cli, monkeypatch):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        for width in (60, 80, 100, 120):
            monkeypatch.setenv("COLUMNS", f"{width}")
            out = unstyle(cli("leaderboard").out)
            tables = [line for line in out.splitlines() if line[:1] in "│┃"]
            assert max(map(len, tables)) <= width
            for best in metabench.leaderboard()["score"].dropna():
                assert any(f" {100 * best:.2f} " in line for line in tables)
            assert "columns that do not fit: " in out


def test_no_results_say_how_to_make_some(cli):
    code, out, err = cli("leaderboard", "--results", "elsewhere")
    assert (code, out) == (4, "")
    assert "metabench run -s digits-5w1s" in err
    assert "--results elsewhere" in err
    assert err.count("\n") == 1


def test_results_may_be_elsewhere(cli):
    store_results(Path("elsewhere"), [make_result()])
    assert cli("leaderboard", "--results", "elsewhere").out == rendered("md", "elsewhere")


def test_published_numbers_are_printed_in_both_forms(cli, tmp_path) -> None:
    store_results(tmp_path / "results", [make_result(suite=make_suite("omniglot-5w1s"))])
    assert cli("leaderboard", "--published").out.startswith("# Comparison with published numbers\n")
    content = json.loads(cli("leaderboard", "--published", "--json").out)
    assert content["schema"] == 1
    assert {pair["published"]["suite"] for pair in content["published"]} == {"omniglot-5w1s"}


def test_suites_without_published_numbers_are_an_error(cli, tmp_path) -> None:
    store_results(tmp_path / "results", [make_result()])
    outcome = cli("leaderboard", "--published")
    assert (outcome.code, outcome.out) == (4, "")
    assert "no published numbers are known" in outcome.err


def test_changes_are_shown_from_a_folder_and_from_a_revision(cli, tmp_path) -> None:
    def git(*arguments: str) -> None:
        settings = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(["git", *settings, *arguments], check=True, capture_output=True)

    suite = make_suite(episodes=4, query=2)
    store_results(tmp_path / "results", [make_result(suite=suite, correct=[8, 8, 9, 9])])
    git("init", "-q")
    (tmp_path / ".gitattributes").write_text("results export-ignore\n")  # it is for archives
    git("add", "results", ".gitattributes")
    git("commit", "-q", "-m", "before")
    shutil.copytree(tmp_path / "results", tmp_path / "older")
    store_results(tmp_path / "results", [make_result(suite=suite, correct=[9, 9, 9, 9])])
    for before in ("HEAD", "older"):
        outcome = cli("leaderboard", "--diff", before)
        assert outcome.code == 0
        assert outcome.out.startswith(f"Rows that differ from {before}: 1.\n")
        assert "| +5.00 |" in outcome.out
    assert cli("leaderboard", "--diff", "results").out == "No score differs from results.\n"


def test_a_revision_that_does_not_exist_is_one_line(cli, tmp_path) -> None:
    store_results(tmp_path / "results", [make_result()])
    outcome = cli("leaderboard", "--diff", "no-such-revision")
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert "--diff no-such-revision: no such folder, and git has no results there" in line


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "args",
    [
        ("--check", "--calibration"),
        ("--check", "--diff", "other"),
        ("--published", "-o", "leaderboard.md"),
        ("--calibration", "-o", "leaderboard.md"),
        ("--diff", "other", "--json"),
        ("--diff", "other", "--format", "html"),
        ("--calibration", "--format", "csv"),
        ("--published", "--format", "md"),
    ],
)
def test_views_that_cannot_be_combined_are_refused(cli, args):
    code, out, err = cli("leaderboard", *args)
    assert (code, out) == (2, "")
    assert args[0] in err
    assert err.count("\n") == 1


def test_rows_of_other_or_unknown_code_are_flagged_in_print_and_in_files(cli):
    suite = builtin_suite()
    results = [make_result(name, suite=suite, scored=20) for name in ("protonet", "maml")]
    store_results(Path("results"), [*results, make_result("broken", suite=suite, status="error")])
    content = json.loads(cli("leaderboard", "--json").out)
    found = {row["algorithm"]: row["flags"] for table in content["suites"] for row in table["rows"]}
    assert "stale" in found["protonet"]
    assert "code unknown" in found["broken"]
    assert cli("leaderboard", "-o", "leaderboard.md").code == 0
    shown = [line for line in Path("leaderboard.md").read_text().splitlines() if "| `" in line]
    assert [("stale" in line, "code unknown" in line) for line in shown] == [
        ("`broken`" not in line, "`broken`" in line) for line in shown
    ]
    assert cli("leaderboard", "--check").code == 0


def test_json_of_odd_names_is_json(cli):
    store_results(Path("results"), [make_result("a", status="error", reason="\x9b31m\u202e")])
    for args in (("--json",), ("--format", "json")):
        (table,) = json.loads(cli("leaderboard", *args).out)["suites"]
        assert table["rows"][0]["reason"] == "error: \x9b31m\u202e"


def test_a_printed_command_can_be_pasted() -> None:
    sources = PluginSources(plugins=("my plugins/it's.py",))
    common = Common(config_file=Path("my bench.toml"), sources=sources)
    assert shlex.split(common.command("why", "a b.json")) == [
        *("metabench", "why", "a b.json", "--config", "my bench.toml"),
        *("-p", "my plugins/it's.py"),
    ]
