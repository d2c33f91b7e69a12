"""MNIST: 70,000 handwritten digits.

LeCun, Cortes & Burges (1998), The MNIST database of handwritten digits. It is read from
`<data root>/MNIST/raw/`, where torchvision keeps it, and downloaded there if it is missing.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metabench.data import download
from metabench.data.cache import cached_files
from metabench.data.dataset import Dataset
from metabench.data.declared import DatasetSpec
from metabench.data.paths import first_existing
from metabench.errors import DataError, reason
from metabench.files import MOST, read_file

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

_PARTS = ("train", "t10k")
_FILES = tuple(f"{part}-{kind}-ubyte" for part in _PARTS for kind in ("images-idx3", "labels-idx1"))
_SHAPE = (28, 28)
_BYTES = 0x800  # the type of values, in the first word of a file
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
    advice = _ADVICE.format(names=", ".join(_FILES), folder=folder)
    files = {name: _file(folder, name, advice) for name in _FILES}
    return cached_files(root, "mnist", list(files.values()), root, lambda: _read(files))


def _file(folder: Path, name: str, advice: str) -> Path:
    """Return the path of a file of MNIST, compressed or not; download it if there is neither."""
    packed = folder / f"{name}.gz"
    found = first_existing(folder / name, packed)
    if found is None:
        download.download_mnist(packed, advice)
    return found or packed


def _read(files: Mapping[str, Path]) -> Dataset:
    x, y = [], []
    for part in _PARTS:
        image_file = files[f"{part}-images-idx3-ubyte"]
        images = _array(image_file, 3)
        labels = _array(files[f"{part}-labels-idx1-ubyte"], 1)
        if images.shape != (len(labels), *_SHAPE):
            found = f"images {list(images.shape)}, labels {list(labels.shape)}"
            raise _damaged(image_file, found)
        if len(labels) and labels.max() > 9:
            raise _damaged(image_file, f"labels from {labels.min()} to {labels.max()}")
        x.append(images)
        y.append(labels)
    return Dataset(
        name="mnist",
        images=np.concatenate(x)[:, None],
        labels=np.concatenate(y).astype(np.int64),
        classes=tuple("0123456789"),
        splits={"base": np.arange(5), "novel": np.arange(5, 10)},
        facts={"resample": "none"},
    )


def _array(file: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read a file in the IDX format: zero, zero, type, number of dimensions, sizes, values."""
    try:
        content = read_file(file)
        if file.suffix == ".gz":
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(MOST)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file, reason(error)) from error
    head = np.frombuffer(content[: 4 + 4 * dimensions], dtype=">u4")
    if len(head) != 1 + dimensions or head[0] != _BYTES + dimensions:
        raise _damaged(file, "it is not an IDX file")
    values = np.frombuffer(content, dtype=np.uint8, offset=head.nbytes)
    shape = [int(size) for size in head[1:]]
    if values.size != math.prod(shape):
        raise _damaged(file, f"it has {values.size} values, expected {math.prod(shape)}")
    return values.reshape(shape)


def _damaged(file: Path, problem: str) -> DataError:
    return DataError(f"MNIST in {file.parent} is damaged ({problem}): replace {file.name}")
