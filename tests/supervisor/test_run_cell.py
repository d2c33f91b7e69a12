"""Cells as jobs: run in any process, with the result that a run on this machine gives."""

from __future__ import annotations

import dataclasses
import multiprocessing
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures import ThreadPoolExecutor as Threads
from pathlib import Path

import numpy as np
import pytest
from cli.running import PLUGIN
from msgspec.structs import replace

from metabench.errors import DataError, UsageError
from metabench.results.result_file import decode
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.suites.suite import Suite
from metabench.supervisor.cell_job import CellJob, job_of
from metabench.supervisor.job_executor import JobExecutor
from metabench.supervisor.local_executor import LocalExecutor
from metabench.supervisor.named_cell import named
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.run_cell import run_cell
from metabench.supervisor.run_settings import RunSettings


@pytest.fixture
def request_(tmp_path: Path, monkeypatch) -> Request:
    """Two cells of a plugin, one of which is trained and one of which fails."""
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(PLUGIN)
    return Request(
        suites=["digits-5w1s"],
        algorithms=["projected[dimension=4]", "raises"],
        plugins=["my.py"],
        threads=1,
        results="local",
    )


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def settings_of(prepared: PreparedRun) -> RunSettings:
    return RunSettings.of(prepared.request, prepared.store.root)


def job(prepared: PreparedRun) -> CellJob:
    cell = prepared.cells[0]
    opened = prepared.suites.open(cell.suite)
    made = job_of(cell, opened, settings_of(prepared), prepared.plugins)
    assert made is not None
    return made


def assert_same(one: Result, other: Result) -> None:
    for part in ("status", "suite", "job", "scores", "blocks", "parameters"):
        assert getattr(one, part) == getattr(other, part)


@pytest.mark.slow
@pytest.mark.parametrize("pool", [lambda: Threads(1), processes], ids=["thread", "process"])
def test_a_job_gives_the_result_of_a_local_run(request_: Request, pool) -> None:
    with PreparedRun(request_) as prepared:
        local, failed = prepared.run()
        workers: Executor
        with pool() as workers:
            result = decode(workers.submit(run_cell, job(prepared).encode()).result())
            assert result.status == "ok"
            assert_same(local, result)
        assert result.timing is not None
    with (
        PreparedRun(dataclasses.replace(request_, results="remote")) as prepared,
        pool() as workers,
    ):
        again, failed_again = prepared.run(workers=workers)
        stored = dict(Store("remote").read()[0])
    assert_same(local, again)
    assert failed.failure is not None
    assert failed_again.failure is not None
    assert failed_again.failure.reason == failed.failure.reason
    assert (bool(failed.failure.log), bool(failed_again.failure.log)) == (True, False)
    assert list(stored.values()) == [again, failed_again]
    assert [path.name for path in Path("remote", "logs").iterdir()] == ["claims.lock"]


def test_a_job_reads_back_as_it_was_written(request_: Request) -> None:
    with PreparedRun(request_) as prepared:
        made = job(prepared)
    assert CellJob.decode(made.encode()) == made
    assert made.cell.params == {"dimension": 4}
    assert made.settings.results == Path("local").absolute()


def test_a_worker_with_other_code_refuses_and_names_both(request_: Request) -> None:
    with PreparedRun(request_) as prepared, Threads(1) as workers:
        mine = prepared.cells[0].code
        Path("my.py").write_text(PLUGIN.replace("-torch.cdist", "-2 * torch.cdist"))
        with PreparedRun(request_) as edited:
            theirs = edited.cells[0].code
        assert mine is not None
        assert theirs is not None
        words = f"the worker has code {theirs.digest}, the submitter {mine.digest}"
        with pytest.raises(UsageError, match=words):
            prepared.run(workers=workers)
    assert Store("local").paths() == []


def test_a_worker_with_other_episodes_refuses_and_names_both(request_: Request) -> None:
    with PreparedRun(request_) as prepared:
        made = job(prepared)
        with pytest.raises(DataError, match=f"has episodes {made.episodes}, the submitter other"):
            run_cell(replace(made, episodes="other").encode())


@pytest.mark.slow
def test_a_suite_without_a_name_runs_in_the_submitting_process(
    request_: Request, tmp_path: Path
) -> None:
    x = np.repeat(np.arange(4, dtype=np.uint8), 30)[:, None, None] * np.full((8, 8), 60, np.uint8)
    arrays = Suite.from_arrays(
        x, np.repeat(np.arange(4), 30), name="grey", way=2, data_root=tmp_path
    )
    request = dataclasses.replace(request_, suites=[arrays], algorithms=["chance"])

    class NoWorkers(Threads):
        def submit(self, *args: object, **kwargs: object) -> Future:  # type: ignore[override]
            raise AssertionError("submitted to a worker")

    with PreparedRun(request) as prepared, NoWorkers(1) as workers:
        assert named(prepared.cells[0], prepared.plugins) is None
        (result,) = prepared.run(workers=workers)
    assert (result.status, result.suite.name) == ("ok", "grey-2w1s")


def test_stopping_cancels_the_jobs_that_have_not_begun(request_: Request) -> None:
    class Full(Threads):
        def submit(self, *args: object, **kwargs: object) -> Future:  # type: ignore[override]
            return Future()

    with PreparedRun(request_) as prepared, Full(1) as workers:
        local = LocalExecutor(prepared.suites, settings_of(prepared), 1)
        with JobExecutor(workers, 1, local, prepared.plugins) as executor:
            future = executor.submit(prepared.cells[0], lambda progress: None)
            executor.stop()
        with pytest.raises(CancelledError):
            future.result(0)
