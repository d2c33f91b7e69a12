"""Omniglot itself, for tests that say so where it is absent.

It is looked for in `../shared/data` beside the checkout, or in the data root that
METABENCH_TEST_OMNIGLOT names.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(
    os.environ.get("METABENCH_TEST_OMNIGLOT", Path(__file__).parents[2] / "shared" / "data")
)
PRESENT = (ROOT / "omniglot").is_dir()

needs_omniglot = pytest.mark.skipif(
    not PRESENT, reason="Omniglot is not here: METABENCH_TEST_OMNIGLOT names its data root"
)
