"""Settings that all cells of a run share."""

from __future__ import annotations

import pytest

from metabench.results.schema import MOST_THREADS
from metabench.supervisor import run_settings
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import threads_each


@pytest.mark.parametrize(
    ("cores", "jobs", "threads"), [(8, 1, 8), (8, 3, 2), (1, 2, 1), (4096, 1, MOST_THREADS)]
)
def test_cells_side_by_side_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, jobs: int, threads: int
) -> None:
    monkeypatch.setattr(run_settings, "cores", lambda: cores)
    assert threads_each(Request(jobs=jobs)) == threads
