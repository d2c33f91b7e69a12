"""Real handwritten digits, 8x8, that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metabench.data.cache import cached
from metabench.data.dataset import Dataset
from metabench.data.declared import DatasetSpec

SPEC: DatasetSpec = {
    "what": "1,797 handwritten digits; 0 to 4 are base, 5 to 9 novel",
    "shape": (1, 8, 8),
    "classes": (5, 0, 5),
    "source": "Alpaydin and Kaynak 1998, UCI Machine Learning Repository, from scikit-learn",
    "suites": {
        "digits-5w1s": {"way": 5, "shot": 1},
        "digits-5w5s": {"way": 5, "shot": 5},
        "digits-chunks": {"way": 10, "shot": 5, "query": 5, "episodes": 600, "protocol": "chunks"},
    },
}


def load(root: Path) -> Dataset:
    """Load 1,797 digits of 8x8 pixels: 0 to 4 are base, 5 to 9 novel; no validation.

    References: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository (1998), as in `sklearn.datasets.load_digits`.
    """
    return cached(root, "digits", "load_digits, 0..16 to 0..255", _make)


def _make() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images[:, None] * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="digits",
        images=images,
        labels=digits.target.astype(np.int64),
        classes=tuple("0123456789"),
        splits={"base": np.arange(5), "novel": np.arange(5, 10)},
        facts={"resample": "none"},
    )
