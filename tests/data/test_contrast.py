"""A dark image among others is fine; most of them, or a whole class, are not."""

from __future__ import annotations

import numpy as np
import pytest

from metabench.data.contrast import contrast_problem, faint, spread


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 26), (229, 255)])
def test_a_tenth_of_the_range_is_enough(low: int, high: int) -> None:
    assert contrast_problem(np.array([low, low, high], dtype=np.uint8)) == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 25), (230, 255)])
def test_less_is_named(low: int, high: int) -> None:
    problem = contrast_problem(np.array([low, high], dtype=np.uint8))
    assert f"between {low} and {high} of 255" in problem


def test_one_value_is_blank() -> None:
    assert contrast_problem(np.full((2, 3), 7, np.uint8)) == "every pixel of every image is 7"


def test_images_are_faint_by_themselves_and_blank_ones_are_not() -> None:
    low, high = np.array([[0, 0, 230, 0, 9], [1, 25, 255, 26, 9]], dtype=np.uint8)
    assert faint(low, high).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("images", "much"),
    [
        ([3, *range(9, 2000, 400)], ""),  # a few of all classes
        (range(1000, 1020), "some"),  # one class of a hundred
        ([1000], ""),
        (range(0, 2000, 19), "some"),  # one in nineteen
        (range(0, 2000, 21), ""),
        (range(1001), "most"),
    ],
)
def test_a_class_or_one_image_in_twenty_is_worth_a_warning(images, much) -> None:
    found = np.zeros(2000, dtype=bool)
    found[[*images]] = True
    assert spread(found, np.arange(2000) // 20) == much
