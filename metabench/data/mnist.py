"""MNIST: 70,000 handwritten digits, through torchvision.

LeCun, Cortes & Burges (1998), The MNIST database of handwritten digits. It is read from
`<data root>/MNIST/raw/`, where torchvision keeps it, and downloaded there if it is missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metabench.data import download
from metabench.data.cache import cached, files_key
from metabench.data.dataset import Dataset
from metabench.data.declared import DatasetSpec
from metabench.errors import DataError

SPEC: DatasetSpec = {
    "what": "70,000 handwritten digits; 0 to 4 are base, 5 to 9 novel",
    "shape": (1, 28, 28),
    "classes": (5, 0, 5),
    "source": "LeCun et al. 1998, through torchvision",
    "suites": {
        "mnist-5w1s": {"way": 5, "shot": 1},
        "mnist-5w5s": {"way": 5, "shot": 5},
        "mnist-chunks": {"way": 10, "shot": 5, "episodes": 600, "protocol": "chunks"},
    },
}

_FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_SHAPE = (28, 28)
_ADVICE = (
    "put {names} (or the same with .gz), from https://ossci-datasets.s3.amazonaws.com/mnist/, "
    "into {folder}"
)


def load(root: Path) -> Dataset:
    """Load training and test digits together: 0 to 4 are base, 5 to 9 novel; no validation.

    Raises:
        DataError: the data is missing and cannot be downloaded, or is damaged.
    """
    folder = root / "MNIST" / "raw"
    if not all((folder / name).is_file() for name in _FILES):
        download.download_mnist(root, _ADVICE.format(names=", ".join(_FILES), folder=folder))
    files = [folder / name for name in _FILES]
    return cached(root, "mnist", files_key(files, root), lambda: _read(root, folder))


def _read(root: Path, folder: Path) -> Dataset:
    x, y = [], []
    for train in (True, False):
        try:
            part = download.torchvision_datasets().MNIST(str(root), train=train)
            images, labels = part.data.numpy(), part.targets.numpy()
        except Exception as error:  # torchvision checks with assertions, among others
            raise _damaged(folder, str(error).partition("\n")[0] or type(error).__name__) from error
        if images.shape != (len(labels), *_SHAPE):
            raise _damaged(folder, f"images {list(images.shape)}, labels {list(labels.shape)}")
        if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
            raise _damaged(folder, f"labels from {labels.min()} to {labels.max()}")
        x.append(images)
        y.append(labels)
    images, labels = np.concatenate(x)[:, None], np.concatenate(y).astype(np.int64)
    return Dataset(
        name="mnist",
        images=images,
        labels=labels,
        classes=tuple("0123456789"),
        splits={"base": np.arange(5), "novel": np.arange(5, 10)},
        facts={"resample": "none"},
    )


def _damaged(folder: Path, reason: str) -> DataError:
    return DataError(f"MNIST in {folder} is damaged ({reason}): replace its files")
