"""The training data of both learners of a duel; tests/cli/test_duel.py has whole duels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from metabench.cell.messages import ProcessSettings, Start
from metabench.gating import duel_rounds
from metabench.plugins.sources import PluginSources
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings


@pytest.mark.slow
def test_each_side_is_trained_on_what_its_cell_says(tmp_path: Path) -> None:
    request = Request(
        suites=["sinusoid-5s"],
        algorithms=["maml"],
        train_on="sinusoid-freq-5s",
        results=str(tmp_path),
    )
    started: list[Start] = []

    def train(start: Start) -> SimpleNamespace:
        started.append(start)
        return SimpleNamespace(training=None)

    with PreparedRun(request) as prepared:
        cell, library = prepared.cells[0], prepared.suites
        assert cell.train_on is not None
        settings = RunSettings(ProcessSettings(sources=PluginSources(), threads=1), tmp_path)
        duel_rounds._train(cell, library, settings, SimpleNamespace(train=train))
        own, named = (library.material(suite) for suite in (cell.suite, cell.train_on))
        assert named is not None
        assert own != named
        assert [start.material for start in started] == [str(named[1])]
