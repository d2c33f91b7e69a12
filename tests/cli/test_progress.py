"""The progress of a run: bars on a terminal, a line for each cell in a pipe."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from results_factory import make_result, make_suite

from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, configure
from metabench.cell.messages import Progress
from metabench.cli.progress import Bars, Lines, outcome, progress
from metabench.learner import Algorithm
from metabench.suites.builtin_suites import SUITES
from metabench.supervisor.runner import Watcher

# Applies to no suite of classes, so its cells are over before a learner process starts.
CURVES_ONLY = """
import metabench

@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("curves-only", build="no:where", tasks={"regression"})
"""
DONE = "digits-5w1s maml[note=[bold]] seed 1: "


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make stderr a terminal, from within the test, because pytest sets it between phases."""

    def install() -> Terminal:
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return install


@pytest.fixture
def cell() -> Cell:
    """With a parameter that would be markup to a careless terminal."""
    maml = Algorithm("maml", build="module:attr", params={"note": ""})
    configured = configure(maml, {"note": "[bold]"}, provider="")
    return Cell(SUITES[0], configured, seed=1, budget=Budget.parse("smoke"))


def test_a_pipe_gets_lines_and_a_terminal_bars(terminal, monkeypatch) -> None:
    terminal()
    with progress(1, quiet=False) as watcher:
        assert isinstance(watcher, Bars)
    with progress(1, quiet=True) as watcher:
        assert type(watcher) is Watcher
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress(1, quiet=False) as watcher:
        assert isinstance(watcher, Lines)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (make_result(suite=make_suite(episodes=2), correct=[15, 0]), "50.00% (20.0 s)"),
        (
            make_result(suite=make_suite("curves", metric="mse"), error=[0.25] * 20),
            "MSE 0.2500 (20.0 s)",
        ),
        (make_result(status="error", reason="ValueError: no"), "error: ValueError: no (20.0 s)"),
        (
            make_result(status="not_applicable", reason="no base data"),
            "not applicable: no base data (20.0 s)",
        ),
        (make_result(status="interrupted", reason="interrupted"), "interrupted (20.0 s)"),
    ],
)
def test_a_finished_cell_in_one_line(cell: Cell, result, text: str) -> None:
    assert outcome(cell, result) == DONE + text


def test_lines_are_counted(cell: Cell, capsys) -> None:
    lines = Lines(2)
    for _ in range(2):
        lines.started(cell)
        lines.progress(cell, Progress(fraction=0.5, values={"loss": 1.0}))
        lines.finished(cell, make_result(status="timeout", reason="over 1 s"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "".join(f"[{i}/2] {DONE}timeout: over 1 s (20.0 s)\n" for i in (1, 2))


def test_bars_show_how_far_a_cell_is_and_leave_its_outcome(terminal, cell: Cell) -> None:
    other = Cell(cell.suite, cell.configured, seed=2, budget=cell.budget)
    stderr = terminal()
    with Bars(2) as bars:
        for one in (cell, other):
            bars.started(one)
            bars.progress(one, Progress(fraction=0.5, values={}))
            bars.progress(one, Progress(fraction=0.6, values={"loss": 1.5, "validation": None}))
            bars.progress(one, Progress(fraction=0.0, values={"accuracy": 0.25}))
        bars._rich.refresh()
        assert "accuracy 0.250" in stderr.getvalue()
        bars.finished(cell, make_result(status="error", reason="ValueError: [red]"))
        bars._rich.refresh()
        assert "1/2, about " in stderr.getvalue()
    assert f"{DONE}error: ValueError: [red] (20.0 s)" in stderr.getvalue()


def test_a_terminal_that_is_gone_ends_nothing(terminal, cell: Cell, monkeypatch) -> None:
    def gone(text: str) -> int:
        raise OSError(5, "Input/output error")

    stderr = terminal()
    with progress(1, quiet=False) as watcher:
        monkeypatch.setattr(stderr, "write", gone)
        watcher.started(cell)
        watcher.progress(cell, Progress(fraction=0.5, values={}))
        watcher.finished(cell, make_result())


def test_a_run_on_a_terminal(terminal, cli, tmp_path: Path) -> None:
    stderr = terminal()
    (tmp_path / "my.py").write_text(CURVES_ONLY)
    args = ("-p", "my.py", "-s", "digits-5w1s", "-a", "curves-only")
    assert cli("run", *args).code == 4
    assert "digits-5w1s curves-only seed 0: not applicable: it does not sup" in stderr.getvalue()
