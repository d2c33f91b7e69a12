"""Cells in this process: like any executor's, but untimed, and with exceptions for a debugger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli.running import PLUGIN

from metabench.results.store import Store
from metabench.supervisor.in_process_executor import InProcessExecutor
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.runner import Runner, Watcher


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PreparedRun]:
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(PLUGIN)
    request = Request(
        suites=["digits-5w1s"],
        algorithms=["curves-only", "projected[dimension=4]", "raises"],
        plugins=["my.py"],
        threads=1,
        results="here",
    )
    with PreparedRun(request) as made:
        yield made


@pytest.mark.slow
def test_a_runner_stores_what_learner_processes_give(prepared: PreparedRun) -> None:
    settings = RunSettings.of(prepared.request, Path("here"))
    executor = InProcessExecutor(prepared.suites, prepared.plugins)
    runner = Runner(
        Store(Path("here")), prepared.suites, prepared.plugins, settings, executor, Watcher()
    )
    skipped, here = runner.run(prepared.planned[:2])
    assert (skipped.status, here.status) == ("not_applicable", "ok")
    assert Store(Path("here")).load(prepared.cells[1].path) == here
    with PreparedRun(replace(prepared.request, results="apart"), None, prepared.cells) as apart:
        found = apart.run(timed=False)[1]
    assert np.array_equal(here.per_episode(), found.per_episode())
    assert here.scores == found.scores


def test_an_exception_is_in_the_future_with_its_traceback(prepared: PreparedRun) -> None:
    executor = InProcessExecutor(prepared.suites, prepared.plugins)
    error = executor.submit(prepared.cells[2]).exception()
    assert isinstance(error, ZeroDivisionError)
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(Path(trace.tb_frame.f_code.co_filename).name)
        trace = trace.tb_next
    assert "my.py" in frames


def test_a_learner_that_raises_not_applicable_is_not_applicable(
    prepared: PreparedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(prepared.suites.open(prepared.cells[1].suite)), "material", None)
    result = InProcessExecutor(prepared.suites, prepared.plugins).submit(prepared.cells[1]).result()
    assert result.status == "not_applicable"
    assert "no base data" in result.reason


class Interrupted:
    """A queue that Ctrl-C interrupts when the caller has taken an item, which is then lost."""

    def __init__(self) -> None:
        self.items: list[BaseException | None] = []
        self.put = self.items.append

    def get(self) -> None:
        self.items.pop()  # an IndexError where a queue would wait forever
        raise KeyboardInterrupt


def test_a_runner_does_not_wait_for_an_end_that_an_interrupt_has_swallowed(
    prepared: PreparedRun,
) -> None:
    settings = RunSettings.of(prepared.request, Path("here"))
    executor = InProcessExecutor(prepared.suites, prepared.plugins)
    runner = Runner(
        Store(Path("here")), prepared.suites, prepared.plugins, settings, executor, Watcher()
    )
    runner._ended = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        runner.run(prepared.planned[:1])
