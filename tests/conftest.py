"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# Tests run side by side; threads that wait by spinning would slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
