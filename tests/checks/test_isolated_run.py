"""The battery in a separate process, and processes that a plugin starts there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from metabench.checks.check_names import LOADING, Outcome
from metabench.checks.isolated_run import Checked, check_apart
from metabench.plugins.sources import PluginSources

PLUGIN = """
import os
import subprocess
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

import metabench


class Loads(metabench.Learner):
    def fit(self, base):
        loader = DataLoader(TensorDataset(base.x[:8]), batch_size=4, num_workers=2)
        assert sum(len(x) for x, in loader) == 8

    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -torch.cdist(query_x.flatten(1), centroids)


class Leaves(Loads):
    '''Leave a process behind, and continue.'''

    def fit(self, base):
        started = subprocess.Popen(["sleep", "600"])
        with open("started", "a") as file:
            file.write(f"{started.pid}\\n")


class Hangs(Leaves):
    def fit(self, base):
        super().fit(base)
        open("hangs", "w").close()
        time.sleep(600)


class Forks(Leaves):
    '''End, while a copy continues and keeps the files open.'''

    def fit(self, base):
        if os.fork() == 0:
            time.sleep(600)
        os._exit(3)


class Interrupts(metabench.Learner):
    def adapt(self, support):
        return None

    def predict(self, centroids, query_x):
        raise KeyboardInterrupt


@metabench.hookimpl
def metabench_algorithms():
    for kind in (Loads, Leaves, Hangs, Forks, Interrupts):
        yield metabench.Algorithm(kind.__name__.lower(), build=kind)
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin.py").write_text(PLUGIN)


def until_built(name: str, seconds: float = 60.0) -> Outcome:
    """Return the outcome of the check `build`, and end the child."""
    with closing(
        check_apart(name, PluginSources(plugins=("plugin.py",), restrict=()), seconds)
    ) as every:
        found = (one for one in every if not isinstance(one, Checked))
        return next(outcome for outcome in found if outcome.check == "build")


def running() -> list[int]:
    """Return the processes that the plugin started and that have not ended."""
    found = []
    for pid in Path("started").read_text().split():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(int(pid))
    return found


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_learner_may_load_its_data_with_processes() -> None:
    found = until_built("loads")
    assert found.status == "passed", found


@pytest.mark.slow
def test_processes_of_a_plugin_end_with_the_checks() -> None:
    assert until_built("leaves").status == "passed"
    wait_for(lambda: not running())


@pytest.mark.slow
def test_processes_of_a_plugin_end_at_the_time_limit() -> None:
    assert until_built("hangs", seconds=8).message == "it did not end within 8 s"
    wait_for(lambda: not running())


@pytest.mark.slow
def test_the_end_of_the_process_is_noticed_while_a_copy_continues() -> None:
    assert until_built("forks").message == "the process ended (exit code 3)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "code", "line"),
    [
        (signal.SIGINT, 130, "metabench: interrupted"),
        (signal.SIGTERM, 143, "metabench: ended by SIGTERM"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_nothing_continues_when_the_command_ends(by: signal.Signals, code: int, line: str) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "metabench", "check", "-p", "plugin.py", "hangs"],
        env={**os.environ, "METABENCH_PLUGINS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_for(Path("hangs").exists)
    command.send_signal(by)
    _, said = command.communicate(timeout=20)  # no process keeps stderr open
    assert command.returncode == code, said
    assert said.decode().strip() == line
    wait_for(lambda: not running())


def test_a_named_plugin_that_cannot_be_loaded_is_a_failure() -> None:
    Path("bad.py").write_text("raise ValueError('boom')")
    sources = PluginSources(plugins=("plugin.py", "bad.py"), restrict=())
    found = [*check_apart("interrupts", sources, 60)]
    assert found[-1][:3] == (LOADING, "failed", "plugin 'bad.py': ValueError: boom")
    (shapes,) = [one for one in found if one[0] == "shapes"]
    assert shapes[1:3] == ("failed", "it raised KeyboardInterrupt")  # and the checks go on


@pytest.mark.slow
def test_processes_that_outlive_the_time_limit_are_named() -> None:
    assert "end the processes that it has started (1)" in until_built("hangs", seconds=8).advice
