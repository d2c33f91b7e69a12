"""Two runs into one folder at the same time share the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli.running import PLUGIN, results

RUN = (
    *("run", "-p", "my.py", "-a", "centroid", "-a", "projected", "-s", "digits-5w1s"),
    *("--seeds", "2", "--threads", "1"),
)


# Every learner that is built leaves a mark, and takes long enough for both runs to meet.
NOTES = """
def _noted(build):
    def built(task, **params):
        with open("built", "a") as file:
            file.write("x")
        time.sleep(2)
        return build(task, **params)
    return built

NearestCentroid, Projected = _noted(NearestCentroid), _noted(Projected)
"""


@pytest.mark.slow
def test_two_runs_at_once_run_every_cell_once(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN + NOTES)
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "metabench", *RUN],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outcomes = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    tables = {out for out, _ in outcomes}
    assert len(tables) == 1  # both print the whole
    found = results(tmp_path / "results-smoke")
    assert len(found) == 4
    said = "".join(err for _, err in outcomes)
    assert "waiting for" in said
    assert "cells that another run is running" in said
    assert (tmp_path / "built").read_text() == "x" * 4
