"""The pytest fixture `accuracy_gate`, which tests accuracy against a stored baseline.

def test_my_algorithm(accuracy_gate):
    accuracy_gate("my-algo", suite="digits-5w1s")

`pytest --update-baselines` makes the baselines, which belong under version control.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metabench.results import BASELINES

if TYPE_CHECKING:
    from metabench.gating.accuracy_fixture import AccuracyGate

UPDATE = "--update-baselines"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the setting."""
    group = parser.getgroup("metabench")
    group.addoption(
        UPDATE,
        action="store_true",
        help="Make the baselines of `accuracy_gate` instead of testing against them.",
    )
    parser.addini(
        "accuracy_baselines",
        f"Folder of baselines below the root folder.  [default: {BASELINES} in the test's folder]",
        default="",
    )


@pytest.fixture
def accuracy_gate(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AccuracyGate:
    """Test an algorithm's accuracy against a baseline; see `AccuracyGate.__call__`."""
    from metabench.gating.accuracy_fixture import AccuracyGate

    config = request.config
    chosen: str = config.getini("accuracy_baselines")
    here = Path(request.path).parent
    folder = config.rootpath / chosen if chosen else here / BASELINES
    scratch = tmp_path_factory.mktemp("accuracy")
    return AccuracyGate(folder, scratch, here, config.getoption(UPDATE))
