"""`kill -9` at any moment: nothing half-written, nothing lost, nothing left running."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.running import PLUGIN, digests, results

KILLS = 8
# Two algorithms, two suites, two seeds: eight cells.
RUN = (
    *("run", "-p", "my.py", "-p", "patient.py", "-a", "centroid", "-a", "patient"),
    *("-s", "digits-5w*"),
    *("--seeds", "2", "-j", "2", "--threads", "1", "--budget", "smoke", "--retry-failed"),
    *("--checkpoint-every", "0"),
)
TOKEN = "METABENCH_TEST_OF_KILLS"
# Trains for some seconds, so that kills fall into it.
PATIENT = """
import time

import metabench
from my import Projected


class Patient(Projected):
    def meta_step(self, episodes):
        time.sleep(0.05)
        return super().meta_step(episodes)


@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("patient", Patient, params={"dimension": 8}, budgets={"smoke": 50})
"""


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "metabench", *RUN],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def alive(token: str) -> list[int]:
    """Processes that descend from a run, by what they inherited."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{TOKEN}={token}".encode() in (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marked and state != "Z":
            found.append(int(folder.name))
    return found


def wait_until_gone(token: str) -> None:
    end = time.monotonic() + 10
    while pids := alive(token):
        assert time.monotonic() < end, f"left running: {pids}"
        time.sleep(0.02)


def wait_for_checkpoint(store: Path) -> None:
    end = time.monotonic() + 120
    while not list((store / "checkpoints").rglob("*.pt")):
        assert time.monotonic() < end, "no checkpoint was written"
        time.sleep(0.02)


def broken_off(store: Path) -> int:
    """Return how often training was resumed from a checkpoint."""
    trainings = [result.training for result in results(store).values()]
    return sum(training.resumed for training in trainings if training is not None)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_kill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    temporary = tmp_path / "temporary"
    for made in (undisturbed, folder, temporary):
        made.mkdir()
        (made / "my.py").write_text(PLUGIN)
        (made / "patient.py").write_text(PATIENT)
    began = time.monotonic()
    assert start(undisturbed, {"TMPDIR": str(temporary)}).wait() == 0
    # On a slow machine a run takes longer until there is anything to lose.
    longest = max(5.0, (time.monotonic() - began) / 5)
    expected = digests(undisturbed / "results-smoke")
    assert len(expected) == 8

    rng, token = random.Random(0), str(os.getpid())
    environment = {TOKEN: token, "TMPDIR": str(temporary)}
    store = folder / "results-smoke"
    finished: dict[str, str] = {}
    kills = resumed = 0
    process = start(folder, environment)
    while kills < KILLS:
        if kills == 0:  # the first kill falls into training for sure
            wait_for_checkpoint(store)
        else:
            time.sleep(rng.uniform(0.1, longest))
        if process.poll() is not None:  # through before it was killed: all over again
            finished = {}
            resumed += broken_off(store)
            shutil.rmtree(store)
            process = start(folder, environment)
            continue
        kills += 1
        learners = [pid for pid in alive(token) if pid != process.pid]
        if kills > 1 and learners and rng.random() < 0.3:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(learners), signal.SIGKILL)
            continue  # the run goes on
        process.kill()
        process.wait()
        wait_until_gone(token)
        for file in store.glob("*/*/*.json"):
            assert file.read_bytes().endswith(b"}\n")
        now = digests(store)
        assert finished.items() <= now.items() <= expected.items()
        finished = now
        process = start(folder, environment)
    process.wait()
    assert start(folder, environment).wait() == 0
    assert resumed + broken_off(store) > 0
    assert digests(store) == expected
    assert {result.status for result in results(store).values()} == {"ok"}
    assert [*store.rglob(".*.tmp"), *temporary.glob(".metabench*")] == []
    assert list((store / "checkpoints").rglob("*.pt")) == []
    wait_until_gone(token)
