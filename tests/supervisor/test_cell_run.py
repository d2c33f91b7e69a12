"""Cells in learner processes of their own, well-behaved and not."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metabench.cell.messages import ProcessSettings, Start, Trained
from metabench.errors import DataError
from metabench.plugins.sources import PluginSources
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.supervisor import active_run, cell_run, learner_process
from metabench.supervisor.learner_process import LearnerProcess
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache

SENTINELS = str(Path(__file__).parents[1] / "sentinels" / "misbehaving.py")


def run(results: Path, *names: str, **options: Any) -> dict[str, Result]:
    request = Request(
        suites=["digits-5w1s"],
        algorithms=names,
        results=str(results),
        plugins=[SENTINELS],
        threads=1,
        **{"jobs": 2, **options},
    )
    with PreparedRun(request) as prepared:
        return {result.job.algorithm: result for result in prepared.run()}


def gone(pid: int) -> bool:
    for _ in range(300):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


class TrainingDataRemoved(LearnerProcess):
    """Somebody tidies up the folder for temporary files before the learner is trained."""

    def train(self, start: Start) -> Trained:
        assert start.material is not None
        shutil.rmtree(start.material)
        return super().train(start)


class EndedByABatchSystem(LearnerProcess):
    """All processes of a job get the signal, and the learner's ends first."""

    def train(self, start: Start) -> Trained:
        self._process.terminate()
        return super().train(start)


def too_many_open_files(*_: object) -> LearnerProcess:
    raise OSError(errno.EMFILE, "Too many open files")


class NoThreadInIt(LearnerProcess):
    """The limit is reached when the learner's process imports native code."""

    def __init__(self, *arguments: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            worker = "raise SystemExit('libgomp: Thread creation failed: Resource temporarily un"
            worker += "available')"
            patch.setattr(learner_process, "_WORKER", worker)
            super().__init__(*arguments)


class NoThreadForItsLog(LearnerProcess):
    def __init__(self, *arguments: Any) -> None:
        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            super().__init__(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "said"),
    [
        (NoThreadInIt, "no process or thread left"),
        (NoThreadForItsLog, "can't start new thread"),
        (TrainingDataRemoved, "was removed; set TMPDIR"),
        (EndedByABatchSystem, "killed by SIGTERM"),
        (too_many_open_files, "Too many open files"),
    ],
)
def test_what_fails_around_a_cell_is_no_result_of_its_algorithm(
    process: Callable[..., LearnerProcess],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cell_run, "LearnerProcess", process)
        for result in run(tmp_path, "honest").values():
            assert (result.status, said in result.reason) == ("interrupted", True), result.reason
    assert run(tmp_path, "honest")["honest"].status == "ok"  # it runs again without being asked


@pytest.mark.slow
def test_the_same_seed_gives_the_same_outputs_in_any_process(tmp_path: Path) -> None:
    first = run(tmp_path / "a", "honest", "raises-in-adapt")
    second = run(tmp_path / "b", "honest")
    scores = [r["honest"].scores for r in (first, second)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0].outputs_digest == scores[1].outputs_digest
    assert scores[0].correct == scores[1].correct
    assert len(scores[0].correct or []) == 100  # the smoke budget
    assert first["honest"].per_episode().mean() > 0.6
    # The neighbour failed alone, and says where.
    failed = first["raises-in-adapt"]
    assert (failed.status, failed.scores) == ("error", None)
    assert failed.failure is not None
    assert failed.failure.reason == "ZeroDivisionError: cannot adapt"
    assert "misbehaving.py" in failed.failure.traceback


@pytest.mark.slow
def test_every_failure_costs_its_own_cell_and_is_named(tmp_path: Path) -> None:
    expected = {
        "honest": ("ok", ""),
        "raises-in-init": ("error", "RuntimeError: cannot be built"),
        "raises-in-fit": ("error", "RuntimeError: cannot be fitted"),
        "raises-in-meta-step": ("error", "RuntimeError: cannot make a step"),
        "raises-in-predict": ("error", "EOFError: cannot predict"),
        "wrong-shape": ("error", "UsageError: predict returned shape [5, 75] for one task"),
        "exits": ("error", "SystemExit: 0"),
        "exits-hard": ("crashed", "ended with exit code 0"),
        "segfaults": ("crashed", "killed by SIGSEGV"),
        "out-of-memory": ("oom", "OutOfMemoryError: out of memory"),
        "closes-pipes": ("crashed", "the learner process"),
        "says-what-cannot-be-said": ("error", "RuntimeError: a lone \\udcff and so on"),
        "has-no-words": ("error", "Mute"),
    }
    results = run(tmp_path, *expected)
    for name, (status, reason) in expected.items():
        failure = results[name].failure
        assert results[name].status == status, (name, failure)
        assert reason in (failure.reason if failure else ""), name
        assert failure is None or len(failure.reason) < 600
    assert results["honest"].scores is not None


@pytest.mark.slow
def test_outputs_that_are_not_numbers_score_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "not-a-number")["not-a-number"]
    assert result.scores is not None
    assert result.scores.nonfinite == 100 * 75 * 5
    assert result.per_episode().max() == 0


@pytest.mark.slow
def test_a_time_limit_ends_a_learner_that_ignores_being_asked(tmp_path: Path) -> None:
    started = time.perf_counter()
    result = run(tmp_path, "hangs", time_limit=6)["hangs"]
    assert result.status == "timeout"
    assert result.failure is not None
    assert "6 s" in result.failure.reason
    assert time.perf_counter() - started < 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leaves-child", "leaves-detached-child", "leaves-clean-child"])
def test_children_of_a_learner_end_with_it(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, name)[name]
    assert result.failure is not None
    log = tmp_path / result.failure.log
    child = int(log.read_text().split()[1])
    assert gone(child)


@pytest.mark.slow
def test_a_learner_that_prints_without_end_fills_no_disk(tmp_path: Path) -> None:
    results = run(tmp_path, "prints-without-end", "honest")
    assert {result.status for result in results.values()} == {"ok"}
    (log,) = tmp_path.glob("logs/*/prints-without-end/*.log")
    assert 2**21 < log.stat().st_size < 2**22
    assert b"bytes left out" in log.read_bytes()


@pytest.mark.slow
def test_a_memory_limit_ends_a_learner_that_hoards(tmp_path: Path) -> None:
    results = run(tmp_path, "hoards", "hoards-natively", "honest", memory_limit=800)
    found = {name: result.status for name, result in results.items()}
    assert found == {"hoards": "oom", "hoards-natively": "oom", "honest": "ok"}
    failure = results["hoards-natively"].failure
    assert failure is not None
    assert "memory limit of 800 MiB" in failure.reason


@pytest.mark.slow
def test_a_memory_limit_below_what_torch_takes_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "honest", memory_limit=100)["honest"]
    failure = result.failure
    assert failure is not None
    assert result.status == "interrupted"  # not a final result
    assert "before any learner is built: raise the limit" in failure.reason


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_and_recorded(tmp_path: Path) -> None:
    name = "needs-room-for-many-tasks"
    results = run(tmp_path, name, "honest")
    tight, honest = results[name], results["honest"]
    assert tight.scores is not None
    assert honest.scores is not None
    assert tight.timing is not None
    assert (tight.scores.halved, tight.scores.tasks_per_batch) == (True, 6)
    assert (honest.scores.halved, honest.scores.tasks_per_batch) == (False, 12)
    assert tight.timing.throughput_episodes == 6
    assert tight.scores.correct == honest.scores.correct


@pytest.mark.slow
def test_an_import_in_the_timed_block_is_recorded(tmp_path: Path) -> None:
    results = run(tmp_path, "imports-late", "honest")
    timing = {name: result.timing for name, result in results.items()}
    assert timing["honest"] is not None
    assert timing["imports-late"] is not None
    assert timing["honest"].cold == []
    assert timing["imports-late"].cold[0].startswith("imported late")


@pytest.mark.slow
def test_a_forked_child_cannot_hold_a_cell_open(tmp_path: Path) -> None:
    started = time.perf_counter()
    result = run(tmp_path, "leaves-forked-child")["leaves-forked-child"]
    assert result.status == "crashed"
    assert result.failure is not None
    assert "SIGABRT" in result.failure.reason
    assert time.perf_counter() - started < 60


@pytest.mark.slow
def test_the_global_generator_gives_the_same_outputs_too(tmp_path: Path) -> None:
    name = "draws-from-the-global-generator"
    scores = [run(tmp_path / where, name)[name].scores for where in ("a", "b")]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0].outputs_digest == scores[1].outputs_digest


@pytest.mark.slow
def test_patching_the_clock_changes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "picks-at-the-clock")["picks-at-the-clock"]
    assert result.timing is not None
    assert min(result.timing.adapt_s) > 0


def descendants(pid: int) -> list[int]:
    """Every process below another, daemons that it has adopted included."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, look = [], [pid]
    while look:
        parent = look.pop()
        below = [child for child, of in parents.items() if of == parent]
        found += below
        look += below
    return found


@pytest.mark.parametrize("killed", ["supervisor", "guardian"])
def test_a_learner_process_does_not_outlive_who_watches_it(tmp_path: Path, killed: str) -> None:
    settings = RunSettings(ProcessSettings(sources=PluginSources(), threads=1), tmp_path, grace=30)
    process = LearnerProcess(tmp_path / "log", settings, watch=lambda progress: None)
    guardian = process._process.pid
    wait_for(lambda: len(descendants(guardian)) == 1)
    (learner,) = descendants(guardian)
    if killed == "guardian":
        os.kill(guardian, signal.SIGKILL)
    else:  # what the system does to the pipes of a supervisor that is killed
        process.kill()
        process._channel.close()
    assert process._process.wait(30) != 0
    assert gone(learner)
    process.close()


@pytest.mark.slow
def test_a_stopped_learner_and_its_daemons_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    command = ("run", "-p", SENTINELS, "-s", "digits-5w1s", "-a", "stops-itself", "--threads", "1")
    run = subprocess.Popen(
        [sys.executable, "-m", "metabench", *command, "--results", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "logs" / "digits-5w1s" / "stops-itself" / "default-s0-smoke-cpu.log"
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    pids = [int(word) for word in log.read_text().split()[1:]]
    run.kill()
    run.wait()
    assert len(pids) == 2
    assert all(map(gone, pids))


@pytest.mark.slow
def test_a_state_that_cannot_be_saved_costs_the_checkpoint_only(tmp_path: Path) -> None:
    result = run(tmp_path, "cannot-be-saved", checkpoint_every=0.0)["cannot-be-saved"]
    assert result.status == "ok"


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_removed_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "digits-5w1s").touch()
    assert run(tmp_path, "honest")["honest"].status == "ok"
    assert len(Store(tmp_path).paths()) == 1


@pytest.mark.slow
def test_a_log_that_cannot_be_kept_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "digits-5w1s").touch()
    assert run(tmp_path, "honest")["honest"].status == "ok"


def test_a_missing_list_of_definitions_is_written_by_the_next_run(tmp_path: Path) -> None:
    request = Request(suites=["sinusoid-5s"], algorithms=["protonet"], results=str(tmp_path))
    for _ in range(2):
        with PreparedRun(request) as prepared:
            prepared.run()
            (cell,) = prepared.cells
        assert cell.code is not None
        (file,) = (tmp_path / "code").iterdir()
        assert prepared.store.load_code(cell.code.digest) == cell.code.definitions
        file.unlink()  # as if the disk had been full
    (tmp_path / "code").rmdir()
    (tmp_path / "code").touch()  # nothing is to be stored, so this is no error
    with PreparedRun(request) as prepared:
        assert [planned.todo for planned in prepared.planned] == [False]
        assert prepared.run() == []


def test_a_results_folder_with_something_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(DataError, match=r"cannot write .*logs: Not a directory; .*--results"):
        run(tmp_path, "honest")


@pytest.mark.parametrize("link", ["digits-5w1s", "logs", "checkpoints", "code"])
def test_a_link_in_the_results_folder_is_refused_before_any_cell_runs(
    tmp_path: Path, link: str
) -> None:
    outside, results = tmp_path / "outside", tmp_path / "results"
    results.mkdir()
    (results / link).symlink_to(outside)
    kept = []
    for name in ("a.pt", "a.log", "digits-5w1s/honest/default-s0-full-cpu.pt"):
        kept.append(outside / name)
        kept[-1].parent.mkdir(parents=True, exist_ok=True)
        kept[-1].touch()
    with pytest.raises(DataError, match="through the link"):
        run(results, "honest")
    assert sorted(path for path in outside.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is so for every test")
def test_the_end_of_a_process_is_noticed_without_pidfd(tmp_path: Path, monkeypatch) -> None:
    def unknown(pid: int) -> int:
        raise OSError

    monkeypatch.setattr(os, "pidfd_open", unknown)
    found = run(tmp_path, "honest", "exits-hard")
    assert {name: result.status for name, result in found.items()} == {
        "honest": "ok",
        "exits-hard": "crashed",
    }


OTHER = """
import sys
from metabench.supervisor import active_run
from metabench.supervisor.suite_cache import SuiteCache
active_run._NAME = sys.argv[1]
suites = SuiteCache(None)
print(suites.alone(), flush=True)
sys.stdin.read()
suites.close()
"""


@contextmanager
def other_run(temporary: Path) -> Iterator[str]:
    """A run in another process, under another TMPDIR; yields whether it was alone at first."""
    temporary.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, active_run._NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert other.stdout is not None
    try:
        yield other.stdout.readline().strip()
    finally:
        other.communicate()


@pytest.fixture
def quiet_machine(monkeypatch) -> None:
    """Runs of this test see only each other, whatever else the machine is doing."""
    monkeypatch.setattr(active_run, "_NAME", f"metabench-test-{secrets.token_hex(4)}")


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_machine")
def test_cells_are_contended_while_another_run_is_active(tmp_path: Path) -> None:
    suites = SuiteCache(None)
    assert suites.alone()
    with other_run(tmp_path / "temporary") as alone:
        assert alone == "False"
        assert not suites.alone()
        assert was_contended(run(tmp_path / "results", "honest", jobs=1)["honest"])
    assert suites.alone()
    suites.close()


@pytest.mark.usefixtures("quiet_machine")
def test_a_run_that_begins_and_ends_during_a_cell_is_noticed(tmp_path: Path) -> None:
    suites = SuiteCache(None)
    with suites.other_runs() as seen:
        assert not seen.is_set()
    assert not seen.is_set()
    with suites.other_runs() as seen:
        with other_run(tmp_path / "temporary"):
            assert seen.wait(30)
        assert suites.alone()
    assert seen.is_set()
    suites.close()


def was_contended(result: Result) -> bool:
    assert result.environment is not None
    return result.environment.contended


def wait_for(what: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_learner_that_cannot_answer_one_query_keeps_its_score(tmp_path: Path) -> None:
    odd = run(tmp_path, "needs-two-queries")["needs-two-queries"]
    assert odd.status == "ok"
    assert odd.properties is not None
    assert odd.properties.inductive is False  # it cannot answer one query alone
    assert odd.properties.problem == "one query alone: RuntimeError: a single query"


@pytest.mark.slow
def test_the_end_of_a_probe_says_nothing_unless_the_learner_caused_it(tmp_path: Path) -> None:
    stopped = {
        "killed-on-one-query": "the learner process was killed by SIGKILL",
        "ended-on-one-query": "the learner process was killed by SIGTERM",
        "out-of-memory-on-one-query": "OutOfMemoryError: out of memory",
    }
    crashed = {
        "segfaults-on-one-query": "the learner process was killed by SIGSEGV",
        "exits-on-one-query": "the learner process ended with exit code 0",
    }
    found = run(tmp_path, *stopped, *crashed)
    for name, problem in {**stopped, **crashed}.items():
        result = found[name]
        assert result.status == "ok"
        assert result.properties is not None
        assert result.properties.inductive is (None if name in stopped else False)
        assert result.properties.problem == f"one query alone: {problem}"


@pytest.mark.slow
def test_a_probe_over_the_time_limit_says_nothing(tmp_path: Path) -> None:
    (late,) = run(tmp_path, "hangs-on-one-query", time_limit=20.0).values()
    assert late.status == "ok"
    assert late.properties is not None
    assert late.properties.inductive is None
    assert late.properties.problem == "one query alone: over the time limit of 20 s"
