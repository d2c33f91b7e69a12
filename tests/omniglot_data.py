"""The real Omniglot, for tests; they are skipped where it is absent.

It is read from `../shared/data` next to the checkout, or from the data root that
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
