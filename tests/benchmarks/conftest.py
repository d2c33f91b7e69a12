"""A small case, and the peers where they have been fetched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.gate import CONTENDERS
from benchmarks.options import PEERS, Options
from benchmarks.setting import Setting

FOLDER = Path(__file__).parents[2] / PEERS


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the import path, so that peers do not affect other tests."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def small() -> Setting:
    """Two tasks of small images, in float64."""
    return Setting(steps=2, tasks=2, way=3, query=2, side=16, channels=4, double=True)


@pytest.fixture
def options() -> Options:
    return Options(rounds=1, repeats=1, threads=1, peers=FOLDER)


@pytest.fixture(params=[name for name in CONTENDERS if name in peers.PACKAGES])
def peer(request: pytest.FixtureRequest) -> str:
    """A peer with MAML, by name; without it the test is skipped."""
    return need(request.param)


@pytest.fixture
def easyfsl() -> str:
    return need("easyfsl")


def need(name: str) -> str:
    if not peers.present(name, FOLDER):
        pytest.skip(f"{name} is not in {PEERS}: python -m benchmarks.peers")
    peers.admit(FOLDER)
    return name
