"""The Python function that runs a stored cell again."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

import metabench
from metabench.gating.replaying import replay
from metabench.supervisor.request import Request


@pytest.mark.slow
def test_updates_are_computed_in_the_parts_that_the_result_names(tmp_path: Path) -> None:
    (stored,) = metabench.run(
        "digits-5w1s", "maml[tasks_per_step=4]", budget="smoke", results=tmp_path
    )
    assert stored.training is not None
    assert stored.training.tasks_at_once == 4
    # As on code that had less memory to spend.
    older = replace(stored, training=replace(stored.training, tasks_at_once=1))
    found = replay(older, Request())
    assert found.training is not None
    assert found.training.tasks_at_once == 1
