"""Images are judged together, so that a dark one among others is fine."""

from __future__ import annotations

import numpy as np
import pytest

from metabench.data.contrast import contrast_problem


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 26), (229, 255)])
def test_a_tenth_of_the_range_is_enough(low: int, high: int) -> None:
    assert contrast_problem(np.array([low, low, high], dtype=np.uint8)) == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 25), (230, 255)])
def test_less_is_named(low: int, high: int) -> None:
    problem = contrast_problem(np.array([low, high], dtype=np.uint8))
    assert f"between {low} and {high} of 255" in problem


def test_one_value_is_blank() -> None:
    assert contrast_problem(np.full((2, 3), 7, np.uint8)) == "every pixel of every image is 7"
