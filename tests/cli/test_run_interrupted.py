"""Ctrl-C during `metabench run`: finished cells are kept, nothing is left running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.running import PLUGIN, results

SLEEPER = """
import os, pathlib, subprocess, time

import metabench


class Sleeps(metabench.Learner):
    def adapt(self, support):
        child = subprocess.Popen(["sleep", "600"])
        part = pathlib.Path("part")
        part.write_text(f"{os.getpid()} {child.pid}")
        part.rename("pids")
        time.sleep(600)

    def predict(self, state, query_x): ...


@metabench.hookimpl
def metabench_algorithms():
    return [metabench.Algorithm("sleeps", build=Sleeps)]
"""
RUN = ("run", "-p", "my.py", "-p", "sleeper.py", "-s", "digits-5w1s", "--threads", "1")


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"  # dead, only not waited for


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_an_interrupted_run_keeps_what_is_finished_and_can_be_resumed(tmp_path, cli) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    process = subprocess.Popen(
        [sys.executable, "-m", "metabench", *RUN, "-a", "centroid", "-a", "sleeps"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: (tmp_path / "pids").exists() or process.poll() is not None)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert time.monotonic() - asked < 10
    assert (process.returncode, out) == (130, "")
    first, second, *rest = filter(None, err.splitlines())
    assert first.startswith("[1/2] digits-5w1s centroid seed 0: 74.75%")
    assert second.startswith("[2/2] digits-5w1s sleeps seed 0: interrupted (")
    assert rest == [
        "metabench: finished cells are kept in results-smoke/; run the same command to resume",
        "metabench: interrupted",
    ]
    wait_for(lambda: all(map(gone, pids)), seconds=5)

    found = {r.job.algorithm: r.status for r in results(tmp_path / "results-smoke").values()}
    assert found == {"centroid": "ok", "sleeps": "interrupted"}
    plan = cli(*RUN, "-a", "centroid", "-a", "sleeps", "--dry-run").out.splitlines()[2:]
    assert [row.split()[-2:] for row in plan] == [["done", "keep"], ["interrupted", "run"]]
    leaderboard = cli("leaderboard", "--results", "results-smoke")
    assert leaderboard.code == 0
    assert "`centroid`" in leaderboard.out
