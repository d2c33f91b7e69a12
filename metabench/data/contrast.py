"""The rules that find images without contrast, for arrays and files alike."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

_MIN_LEVELS = 26  # levels of 256 between the darkest and the brightest pixel
_FEW = 0.05  # a share of images that may be faint without a word
_CLASS = 5  # images of a class that are not faint by chance


def contrast_problem(images: npt.NDArray[np.uint8]) -> str:
    """Describe what is wrong with images that use less than a tenth of the range; otherwise "".

    Learners get values in [0, 1]. Masks of 0 and 1, or floats divided by 255 twice, would be black.
    The rule is about all images together; `faint` and `spread` are about each.
    """
    low, high = int(images.min()), int(images.max())
    if low == high:
        return f"every pixel of every image is {low}"
    if high - low < _MIN_LEVELS:
        return f"pixels lie between {low} and {high} of 255, which is almost no contrast"
    return ""


def faint(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which images use less than a tenth of the range and are not blank.

    Args:
        low: [M] uint8, the darkest pixel of each image.
        high: [M] uint8, the brightest one.
    """
    found: npt.NDArray[np.bool_] = (low < high) & (high - low < _MIN_LEVELS)
    return found


def spread(found: npt.NDArray[np.bool_], groups: npt.NDArray[Any]) -> Literal["", "some", "most"]:
    """Return how many images are meant by a fault: "most" of them, "some", or "" for a few.

    A few dark photographs among many are natural. One image in twenty, or a whole class, is more
    likely to have another range of values than the others.

    Args:
        found: [M] whether an image has the fault.
        groups: [M] the class of each image.
    """
    if found.mean() > 0.5:
        return "most"
    _, classes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    whole = (np.bincount(classes, found) == sizes) & (sizes >= _CLASS)
    return "some" if found.mean() > _FEW or whole.any() else ""
