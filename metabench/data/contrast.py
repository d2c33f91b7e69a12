"""The rule that refuses images without contrast, for arrays and files alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST = 26  # levels of 256 between the darkest and the brightest pixel of all images


def contrast_problem(images: npt.NDArray[np.uint8]) -> str:
    """Describe what is wrong with images that use less than a tenth of the range; otherwise "".

    Learners get values in [0, 1]. Masks of 0 and 1, or floats divided by 255 twice, would be black.
    The rule is about all images together: single images may be as dark or as plain as they are, and
    none is rescaled.
    """
    low, high = int(images.min()), int(images.max())
    if low == high:
        return f"every pixel of every image is {low}"
    if high - low < _LEAST:
        return f"pixels lie between {low} and {high} of 255, which is almost no contrast"
    return ""
