"""`metabench run` from a first run to the tenth: stored, kept, stale, failed, damaged."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cli.running import PLUGIN, Outcome, digests, results, run_in

from metabench import UsageError
from metabench.results.store import Store
from metabench.supervisor import cell_run
from metabench.supervisor.run_settings import RunSettings

RUN = ("run", "-p", "my.py", "-s", "digits-5w1s", "--threads", "1")
CENTROID = "digits-5w1s/centroid/default-s0-smoke-cpu.json"
PROJECTED = "digits-5w1s/projected/default-s0-smoke-cpu.json"
RAISES = "digits-5w1s/raises/default-s0-smoke-cpu.json"


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, Outcome]:
    """A folder with a plugin in which three cells were run; for reading only."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "my.py").write_text(PLUGIN)
    names = ("centroid", "projected", "raises")
    return folder, run_in(folder, *RUN, *(f"-a{name}" for name in names))


@pytest.fixture
def rerun(first, tmp_path: Path, cli):
    """Run in a copy of that folder; RUN stands before what is given."""
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    return lambda *args: cli(*RUN, *args)


def edit(plugin: Path, old: str, new: str) -> None:
    text = plugin.read_text()
    assert old in text
    plugin.write_text(text.replace(old, new))


def test_a_machine_without_threads_is_one_line(cli, monkeypatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    code, _, err = cli("run", "-s", "digits-5w1s", "-a", "chance", "--threads", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "can't start new thread" in err
    assert "internal" not in err


class TestFirstRun:
    def test_each_cell_is_one_file(self, first) -> None:
        folder, _ = first
        files = [p.relative_to(folder) for p in (folder / "results-smoke").glob("*/*/*.json")]
        expected = [Path("results-smoke", name) for name in (CENTROID, PROJECTED, RAISES)]
        assert sorted(files) == expected
        assert not (folder / "results").exists()

    def test_a_file_says_what_was_run(self, first) -> None:
        result = results(first[0] / "results-smoke")[PROJECTED]
        assert (result.status, result.suite.name) == ("ok", "digits-5w1s")
        assert (result.job.params, result.job.provider) == ({"dimension": 8}, "my.py")
        assert result.training is not None
        assert (result.training.updates, result.parameters) == (5, 8 * 64)
        assert result.properties is not None
        assert result.properties.inductive is True
        assert result.environment is not None
        assert result.environment.threads == 1
        assert 0.3 < result.per_episode().mean() <= 1
        assert len(result.per_episode()) == 100

    def test_stdout_is_the_leaderboard_and_nothing_else(self, first) -> None:
        folder, outcome = first
        printed = run_in(folder, "leaderboard", "-p", "my.py", "--results", "results-smoke")
        assert outcome.out == printed.out
        for name in ("centroid", "projected", "raises"):
            assert f"`{name}`" in outcome.out
        assert "74.75" in outcome.out
        assert "failed" in outcome.out

    def test_stderr_has_a_line_a_cell_and_says_where_results_are(self, first) -> None:
        lines = first[1].err.splitlines()
        assert lines[0].startswith("[1/3] digits-5w1s centroid seed 0: 74.75% (")
        assert lines[1].startswith("[2/3] digits-5w1s projected seed 0: ")
        assert lines[2].startswith(
            "[3/3] digits-5w1s raises seed 0: error: ZeroDivisionError: no centroid today ("
        )
        assert lines[3] == (
            "metabench: failed: ZeroDivisionError: no centroid today; "
            f"see metabench why results-smoke/{RAISES} -p my.py"
        )
        assert lines[4].startswith("metabench: 3 cells run, 0 kept; results in results-smoke/, ")
        assert len(lines) == 5

    def test_only_verbose_output_has_information(self, first) -> None:
        assert "info: " not in first[1].err

    def test_a_failure_costs_its_own_cell_and_the_exit_code(self, first) -> None:
        found = results(first[0] / "results-smoke")
        assert {path: r.status for path, r in found.items()} == {
            CENTROID: "ok",
            PROJECTED: "ok",
            RAISES: "error",
        }
        assert first[1].code == 1

    def test_why_shows_the_traceback_and_what_was_printed(self, first) -> None:
        folder, _ = first
        shown = run_in(folder, "why", f"results-smoke/{RAISES}")
        assert shown.code == 0
        assert "status: error\n" in shown.out
        assert "reason: ZeroDivisionError: no centroid today\n" in shown.out
        assert 'my.py", line' in shown.out
        assert shown.out.endswith("ZeroDivisionError: no centroid today\n")
        (log,) = (line for line in shown.out.splitlines() if line.startswith("log: "))
        assert "about to fail" in Path(log.removeprefix("log: ")).read_text()


class TestRerun:
    def test_finished_cells_are_kept(self, rerun, tmp_path: Path) -> None:
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
        outcome = rerun("-a", "centroid", "-a", "projected")
        assert outcome.code == 0
        assert outcome.err.startswith("metabench: 0 cells run, 2 kept; results in results-smoke/")
        assert "74.75" in outcome.out
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")} == before

    def test_quiet_leaves_only_the_table(self, rerun) -> None:
        outcome = rerun("-a", "centroid", "-q")
        assert (outcome.code, outcome.err) == (0, "")
        assert "74.75" in outcome.out

    def test_a_failure_stays_and_is_reported_again(self, rerun) -> None:
        outcome = rerun("-a", "centroid", "-a", "raises", "-q")
        assert outcome.code == 1
        assert outcome.err == (
            "metabench: failed: ZeroDivisionError: no centroid today; "
            f"see metabench why results-smoke/{RAISES} -p my.py\n"
        )

    def test_the_plan_shows_the_effect_of_each_flag(self, rerun, tmp_path: Path) -> None:
        names = ("centroid", "raises")
        assert plan(rerun, names) == [("done", "keep"), ("failed", "keep")]
        assert plan(rerun, names, "--retry-failed") == [("done", "keep"), ("failed", "run")]
        assert plan(rerun, names, "--force") == [("forced", "run"), ("forced", "run")]
        assert plan(rerun, ("centroid",), "--seeds", "2") == [("done", "keep"), ("new", "run")]
        edit(tmp_path / "my.py", "no centroid today", "none tomorrow either")
        assert plan(rerun, names) == [("done", "keep"), ("stale", "run")]  # one class was edited
        assert plan(rerun, names, "--keep-stale") == [("done", "keep"), ("stale", "keep")]
        assert plan(rerun, names, "--keep-stale", "--retry-failed") == [
            ("done", "keep"),
            ("stale", "run"),
        ]
        status = run_in(tmp_path, "status", "-v", "-p", "my.py", "--results", "results-smoke")
        assert status.out.startswith("results-smoke: 2 ok, 1 stale\n")
        assert status.out.count("; my:Raises\n") == 1

    def test_an_attempt_that_fails_leaves_an_older_score(self, rerun, tmp_path: Path) -> None:
        stored = tmp_path / "results-smoke" / CENTROID
        before = stored.read_bytes()
        outcome = rerun("-a", "centroid", "--force", "--time-limit", "0.2")
        assert outcome.code == 1
        assert "74.75" in outcome.out
        assert "centroid seed 0: over the time limit" in outcome.err
        assert "; the older score is kept; see results-smoke/" in outcome.err
        log = outcome.err.partition("is kept; see ")[2].split()[0]
        assert (tmp_path / log).exists()
        assert stored.read_bytes() == before

    def test_what_is_kept_though_stale_is_shown_as_such(self, rerun, tmp_path: Path) -> None:
        assert "stale" not in rerun("-a", "centroid").out
        edit(tmp_path / "my.py", "return -torch.cdist", "return torch.cdist")
        kept = rerun("-a", "centroid", "--keep-stale")
        assert "74.75" in kept.out
        assert "- stale: made by code that differs" in kept.out

    @pytest.mark.slow
    def test_only_what_is_stale_or_damaged_runs_again(self, rerun, tmp_path: Path) -> None:
        stored = tmp_path / "results-smoke"
        before = digests(stored)
        edit(tmp_path / "my.py", "return -torch.cdist", "return torch.cdist")
        whole = (stored / PROJECTED).read_bytes()
        (stored / PROJECTED).write_bytes(whole[:100])

        outcome = rerun("-a", "centroid", "-a", "projected", "-j", "2")
        assert outcome.code == 0
        assert "metabench: 2 cells run, 0 kept" in outcome.err
        assert results(stored)[CENTROID].per_episode().mean() < 0.2  # the farthest centroid
        aside = f"{Path(PROJECTED).name}.damaged"
        assert (stored / PROJECTED).with_name(aside).read_bytes() == whole[:100]
        assert [line for line in outcome.err.splitlines() if "damaged" in line] == [
            f"metabench: warning: results-smoke/{PROJECTED} is damaged: kept as {aside}, "
            "its cell runs again"
        ]
        # Trained again in another process, at the same time as another cell: the same outputs.
        after = digests(stored)
        assert after[PROJECTED] == before[PROJECTED]
        assert after[CENTROID] != before[CENTROID]
        # The third cell did not run again, and may have been contended by anything.
        environments = [r.environment for r in results(stored).values()]
        assert [e.contended for e in environments if e][:2] == [True, True]


def plan(rerun, names: tuple[str, ...], *flags: str) -> list[tuple[str, str]]:
    """State and plan of each cell, as `--dry-run` prints them."""
    outcome = rerun(*(f"-a{name}" for name in names), *flags, "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    rows = outcome.out.splitlines()[2:]
    return [(row.split()[-2], row.split()[-1]) for row in rows]


@pytest.mark.slow
def test_a_learner_that_ignores_signals_is_stopped_in_time(cli, tmp_path, monkeypatch) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import signal, time\n"
        "import metabench\n\n"
        "class Stubborn(metabench.Learner):\n"
        "    def adapt(self, support):\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        time.sleep(600)\n"
        "    def predict(self, state, query_x): ...\n\n"
        "@metabench.hookimpl\n"
        "def metabench_algorithms():\n"
        "    return [metabench.Algorithm('stubborn', build=Stubborn)]\n"
    )
    settings_of = RunSettings.of
    monkeypatch.setattr(
        RunSettings, "of", lambda *args, **flags: replace(settings_of(*args, **flags), grace=0.3)
    )
    args = ("-p", "stubborn.py", "-a", "stubborn", "-s", "digits-5w1s", "--time-limit", "4")
    outcome = cli("run", *args)
    assert outcome.code == 1
    assert "timeout: over the time limit of 4 s" in outcome.err
    (result,) = results(tmp_path / "results-smoke").values()
    assert result.status == "timeout"
    assert 4 <= result.wall_s < 12


def test_verbose_output_says_what_is_done(cli, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    shown = cli(*RUN, "-a", "centroid", "-v").err
    assert f"metabench: info: plugin 'my.py' is active ({tmp_path / 'my.py'})\n" in shown
    assert "metabench: info: suite digits-5w1s: 1797 examples, episodes " in shown
    cell = "metabench: info: digits-5w1s centroid seed 0 "
    assert f"{cell}begins; its process prints to results-smoke/logs/" in shown
    assert f"{cell}is stored in results-smoke/{CENTROID} after " in shown


def test_in_process_prints_a_score_and_stores_nothing(cli, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    outcome = cli(*RUN, "-a", "centroid", "-a", "projected[dimension=4]", "--in-process")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "digits-5w1s centroid seed 0: 74.75% on 100 episodes (not stored)"
    assert lines[1].startswith("digits-5w1s projected[dimension=4] seed 0: ")
    assert not (tmp_path / "results-smoke").exists()


def test_in_process_lets_exceptions_through_to_the_debugger(cli, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    with pytest.raises(ZeroDivisionError, match="no centroid today") as raised:
        cli(*RUN, "-a", "raises", "--in-process")
    assert raised.value.__notes__ == ["a plugin may be the cause: try without -p my.py"]
    (tmp_path / "my.py").write_text(PLUGIN.replace(", centroids)", ", centroids[:1])"))
    with pytest.raises(UsageError, match=r"expected \[75, 5\]"):
        cli(*RUN, "-a", "centroid", "--in-process")


def test_in_process_says_what_does_not_apply_and_what_is_misspelt(cli, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    outcome = cli(*RUN, "-a", "curves-only", "--in-process")
    assert (outcome.code, outcome.out) == (
        0,
        "digits-5w1s curves-only seed 0: it does not support classification\n",
    )
    outcome = cli(*RUN, "-a", "centroit", "--in-process")
    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean 'centroid'" in outcome.err


def test_an_algorithm_that_never_applies_has_no_table(cli, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    outcome = cli(*RUN, "-a", "curves-only")
    assert (outcome.code, outcome.out) == (4, "")
    assert "[1/1] digits-5w1s curves-only seed 0: not applicable: it does not sup" in outcome.err
    assert outcome.err.splitlines()[-1] == (
        "metabench: error: no algorithm applies to these suites; "
        "digits-5w1s curves-only seed 0: it does not support classification"
    )
    (result,) = results(tmp_path / "results-smoke").values()
    assert result.status == "not_applicable"


def test_a_plugin_that_cannot_be_imported_is_a_warning_and_the_plan_is_printed(
    rerun, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    outcome = rerun("-p", "broken.py", "-a", "centroid", "--dry-run")
    assert outcome.code == 1
    assert "centroid" in outcome.out
    assert outcome.err.splitlines()[0] == (
        "metabench: warning: plugin 'broken.py' failed: "
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_plugin_that_ends_the_process_is_named_and_the_run_fails(
    end: str, rerun, tmp_path: Path
) -> None:
    (tmp_path / "ends.py").write_text(f"import os, sys\n{end}\n")
    outcome = rerun("-p", "ends.py", "-a", "centroid", "-q")
    assert outcome.code == 1
    assert outcome.err.startswith("metabench: failed: plugin 'ends.py': SystemExit: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_dataset_that_ends_the_process_is_named(end: str, cli, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(
        f"import os, sys, metabench\ndef load(root):\n    {end}\n"
        "@metabench.hookimpl\ndef metabench_suites():\n"
        "    yield metabench.Suite('ends-5w1s', dataset=load, way=5, shot=1)\n"
    )
    outcome = cli("run", "-p", "ends.py", "-s", "ends-5w1s", "-a", "chance")
    assert (outcome.code, outcome.out) == (1, "")
    assert "ends.py, line 3, ended the process: SystemExit: " in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_plugin_is_notified_of_each_finished_cell(cli, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        PLUGIN + "\n\n@metabench.hookimpl\n"
        "def metabench_cell_finished(cell, result):\n"
        "    import pathlib\n"
        "    pathlib.Path('finished.json').write_text(f'[\"{cell}\", \"{result.status}\"]')\n"
        "    raise RuntimeError('and then it fails')\n"
    )
    outcome = cli(*RUN, "-a", "curves-only")
    shown = json.loads((tmp_path / "finished.json").read_text())
    assert shown == ["digits-5w1s curves-only seed 0", "not_applicable"]
    assert "plugin 'my.py' failed in metabench_cell_finished: RuntimeError" in outcome.err


@pytest.mark.slow
def test_cells_without_a_result_are_named_and_cost_the_exit_code(
    cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many_open_files(*_: object) -> None:
        raise OSError(24, "Too many open files")

    asked = ("run", "-s", "digits-5w1s", "-a", "chance", "--results", "r")
    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "LearnerProcess", too_many_open_files)
        outcome = cli(*asked)
    assert outcome.code == 1
    assert (
        "metabench: digits-5w1s chance seed 0: it could not be run: [Errno 24] Too many open "
        "files; run the same command again\n"
    ) in outcome.err
    (path,) = Path("r").glob("*/*/*.json")
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", lambda store, path, result: store.root / path)
        outcome = cli(*asked)
    assert outcome.code == 1
    assert f"metabench: {path} was removed; run the same command again\n" in outcome.err
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", lambda store, path, _: (store.root / path).write_text("{"))
        outcome = cli(*asked)
    assert outcome.code == 1
    assert f"metabench: warning: {path}: not a readable result" in outcome.err
