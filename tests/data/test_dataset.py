"""A dataset: the values that it computes, and the mistakes that it refuses."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from metabench import DataError, Dataset

IMAGES = np.arange(4 * 6, dtype=np.uint8).reshape(4, 1, 2, 3)


def dataset(images: np.ndarray = IMAGES, **given: object) -> Dataset:
    values = {
        "name": "small",
        "images": images,
        "labels": np.array([0, 0, 1, 1]),
        "classes": ("a", "b"),
        "splits": {"base": np.array([0]), "novel": np.array([1])},
    }
    return Dataset(**{**values, **given})


def test_what_its_images_are_is_digested_unless_it_is_known() -> None:
    assert dataset().pixels == hashlib.sha256(IMAGES.tobytes()).hexdigest()
    assert dataset(IMAGES[::-1]).pixels == hashlib.sha256(IMAGES[::-1].tobytes()).hexdigest()
    assert dataset(pixels="known").pixels == "known"


def test_values_count_as_well_as_points() -> None:
    points, values = np.zeros((4, 1), np.float32), np.arange(4, dtype=np.float32)[:, None]
    found = dataset(points, targets=values).pixels
    assert found == hashlib.sha256(points.tobytes() + values.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"images": IMAGES.astype(float)}, "images are float64, write uint8 from 0 to 255"),
        ({"labels": np.array([0, 1])}, "4 images but 2 labels"),
        ({"labels": np.array([0, 0, 1, 2])}, "a label is outside 0..1"),
        ({"splits": {"base": [0, 1], "novel": [1]}}, "class 'b' is in both base and novel"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, object], error: str) -> None:
    with pytest.raises(DataError, match=error):
        dataset(**given)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["points", "targets"])
def test_points_and_targets_that_are_not_finite_are_counted_and_located(what, value) -> None:
    given = {"points": np.zeros((4, 2), np.float32), "targets": np.zeros((4, 1), np.float32)}
    given[what][[1, 3], 0] = value
    with pytest.raises(DataError, match=f"{what} of 2 of 4 .*the first is example 1"):
        dataset(given["points"], targets=given["targets"])


@pytest.mark.parametrize("splits", [{}, {"novel": [0, 1]}, {"base": [0], "novel": [1]}])
@pytest.mark.parametrize(
    "second",
    ["cafe\u0301", "caf\u00e9\u200b", "\ufeffcaf\u00e9", "c\u00adaf\u00e9", "cafe\u200d\u0301"],
)
def test_one_name_in_two_spellings_that_look_the_same_is_refused(
    splits: dict[str, list[int]], second: str
) -> None:
    with pytest.raises(DataError, match=r"classes 0 and 1 are both called 'caf\u00e9'"):
        dataset(classes=("caf\u00e9", second), splits=splits)


@pytest.mark.parametrize(
    "names", [("a", "A"), ("\u00e9", "E\u0301"), ("ss", "\u00df"), ("cat", "cat "), ("a", "\uff41")]
)
def test_names_that_look_alike_may_not_be_in_two_splits(names: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="differ only in case"):
        dataset(classes=names)
    for splits in ({"novel": [0, 1]}, {"novel": [0]}, {}):
        assert dataset(classes=names, splits=splits).classes == names
