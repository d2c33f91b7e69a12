"""Drawing training episodes, ours and easyfsl's."""

from __future__ import annotations

import pytest

from benchmarks import sampling


@pytest.fixture(autouse=True)
def _few_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "CLASSES", 8)


def test_the_outer_loop_is_timed_between_updates() -> None:
    assert sampling.prepare("ours", shot=1, episodes=2 * sampling.TASKS)() > 0


def test_easyfsl_draws_tasks(easyfsl: str) -> None:
    assert sampling.prepare(easyfsl, shot=1, episodes=2)() > 0
