"""Fixtures and settings that all tests share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# Tests run side by side; threads that wait by spinning would slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Importing all tests makes a million objects and no garbage worth a collection.
gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Set aside what outlives a test, and compute with one thread, so that rounding is the same.

    Garbage is looked for before each measurement of memory. That takes half a second if torch,
    scikit-learn and all tests are looked through. Networks of tests are too small for two threads.
    The number is set again for each test. Learner processes have one of their own.
    """
    gc.collect()
    gc.freeze()
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root for the whole session, so that no test touches the user's own.

    The workers of pytest-xdist share it: datasets are made once.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "metabench-data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METABENCH_DATA", str(root))
        patch.setenv("XDG_CACHE_HOME", str(root))  # where data goes that others may only read
        yield root
