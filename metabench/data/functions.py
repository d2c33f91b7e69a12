"""Families of functions as datasets: every function is a class, with points as its examples.

Functions are drawn once, from a counter-based generator, and frozen like images. Base, validation
and novel functions are disjoint. Episodes choose functions and points as they choose classes and
images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from metabench.data.dataset import Dataset

Values = npt.NDArray[np.float64]

POINTS = 128  # of each function: enough for 20 support points and 100 queries
FUNCTIONS = {"base": 20_000, "validation": 1_000, "novel": 5_000}


def draw_family(
    name: str,
    function: Callable[..., Values],
    ranges: Mapping[str, tuple[float, float]],
    x_range: tuple[float, float],
) -> Dataset:
    """Draw a dataset of functions of one variable.

    Args:
        name: the name of the dataset; also the key of the draw.
        function: `function(x, **parameters)`, elementwise.
        ranges: for each parameter, the interval that it is drawn from uniformly.
        x_range: the interval that points are drawn from uniformly.

    Returns:
        `images` are the points x, [M, 1] float32; `targets` the values, [M, 1] float32.
        A class is named by its parameters.
    """
    count = sum(FUNCTIONS.values())
    per_function = len(ranges) + POINTS
    key = int.from_bytes(hashlib.sha256(f"functions/{name}".encode()).digest()[:16], "little")
    words = np.random.Philox(key=key).random_raw(count * per_function)
    unit = (words >> np.uint64(11)).reshape(count, per_function) * 2.0**-53  # in [0, 1)
    parameters = {
        parameter: low + (high - low) * unit[:, i]
        for i, (parameter, (low, high)) in enumerate(ranges.items())
    }
    x = x_range[0] + (x_range[1] - x_range[0]) * unit[:, len(ranges) :]
    y = function(x, **{parameter: values[:, None] for parameter, values in parameters.items()})
    points, targets = (v.astype(np.float32).reshape(-1, 1) for v in (x, y))
    for shared in (points, targets):  # shared by every suite of the process
        shared.flags.writeable = False
    ends = np.cumsum(list(FUNCTIONS.values()))[:-1]
    return Dataset(
        name=name,
        images=points,
        labels=np.arange(count).repeat(POINTS),
        classes=tuple(
            ", ".join(f"{p}={v:.6f}" for p, v in zip(parameters, row, strict=True))
            for row in np.stack(list(parameters.values()), axis=1)
        ),
        splits=dict(zip(FUNCTIONS, np.split(np.arange(count), ends), strict=True)),
        targets=targets,
    )
