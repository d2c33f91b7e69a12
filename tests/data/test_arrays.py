"""Any labelled arrays become a dataset, kept by what they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metabench.data import arrays
from metabench.data.autosplit import split_classes
from metabench.errors import DataError, UsageError

X = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
Y = np.array([10, 2, 2, 10, 3, 3])


def infinite(image: int) -> np.ndarray:
    given = X / 255.0
    given[image, 2, 3:5] = np.inf, -np.inf
    return given[..., None]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (X, X[:, None]),
        (X[:, None], X[:, None]),
        (X[..., None], X[:, None]),
        (np.stack([X] * 3, axis=1), np.stack([X] * 3, axis=1)),
        (np.stack([X] * 3, axis=3), np.stack([X] * 3, axis=1)),
        (X / 255.0, X[:, None]),
        ((X / 255.0).astype(np.float32), X[:, None]),
        (X > 100, (X > 100)[:, None] * np.uint8(255)),
    ],
    ids=["MHW", "M1HW", "MHW1", "M3HW", "MHW3", "float64", "float32", "bool"],
)
def test_images_become_channels_first_bytes(tmp_path, given, expected):
    dataset = arrays.load(given, Y, tmp_path)
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images, expected)


def test_floats_are_rounded_to_the_nearest_level(tmp_path):
    values = np.array([0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.0])
    dataset = arrays.load(values.reshape(5, 1, 1), list("abcde"), tmp_path)
    assert dataset.images.ravel().tolist() == [0, 0, 1, 255, 255]


def test_lists_of_floats_will_do(tmp_path):
    dataset = arrays.load([[[0.0, 1.0]], [[1.0, 0.0]]], ["a", "b"], tmp_path)
    assert dataset.images.tolist() == [[[[0, 255]]], [[[255, 0]]]]


def test_tensors_will_do(tmp_path):
    torch = pytest.importorskip("torch")
    dataset = arrays.load(torch.tensor(X), torch.tensor(Y), tmp_path)
    assert np.array_equal(dataset.images[:, 0], X)
    assert dataset.classes == ("2", "3", "10")


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_every_float_type_will_do_with_gradients_too(tmp_path, kind):
    torch = pytest.importorskip("torch")
    given = torch.tensor(X // 16 / 16, dtype=getattr(torch, kind), requires_grad=True)
    dataset = arrays.load(given, [torch.tensor(label) for label in Y], tmp_path)
    assert np.array_equal(dataset.images, arrays.load(X // 16 / 16, Y, tmp_path).images)


def test_half_precision_gives_the_pixels_of_full_precision(tmp_path):
    given = X % 17 / 16  # exact in every type
    half, full = (arrays.load(given.astype(t), Y, tmp_path) for t in (np.float16, np.float64))
    assert half.pixels == full.pixels


def test_integer_labels_are_classes_in_numeric_order(tmp_path):
    dataset = arrays.load(X, Y, tmp_path)
    assert dataset.classes == ("2", "3", "10")
    assert dataset.labels.tolist() == [2, 0, 0, 2, 1, 1]


@pytest.mark.parametrize("dtype", [None, object], ids=["text", "objects"])
def test_string_labels_are_classes_in_alphabetical_order(tmp_path, dtype):
    dataset = arrays.load(X, np.array(list("bacbca"), dtype=dtype), tmp_path)
    assert dataset.classes == ("a", "b", "c")
    assert dataset.labels.tolist() == [1, 0, 2, 1, 2, 0]


def test_classes_are_divided_by_their_names(tmp_path):
    dataset = arrays.load(X, list("abcdef"), tmp_path)
    expected = split_classes(tuple("abcdef"), "auto")
    for split, ids in expected.items():
        assert np.array_equal(dataset.split(split), ids)


def test_every_class_can_be_novel(tmp_path):
    dataset = arrays.load(X, Y, tmp_path, split="novel")
    assert dataset.split("novel").tolist() == [0, 1, 2]
    assert dataset.split("base").tolist() == []


def test_splits_name_labels_and_the_rest_stays_unused(tmp_path):
    dataset = arrays.load(X, Y, tmp_path, splits={"base": [10], "novel": np.array([2])})
    assert dataset.split("base").tolist() == [2]
    assert dataset.split("novel").tolist() == [0]
    assert dataset.split("validation").tolist() == []


def test_a_split_may_be_empty_or_a_single_label(tmp_path):
    dataset = arrays.load(X, list("aabbcc"), tmp_path, splits={"base": [], "novel": "c"})
    assert dataset.split("base").tolist() == []
    assert dataset.split("novel").tolist() == [2]


def test_the_same_arrays_are_kept_once(tmp_path):
    for given in (X, X[:, None], X / 255.0):
        arrays.load(given, Y, tmp_path)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"X": 255 - X},
        {"X": X.reshape(6, 9, 8)},
        {"y": Y[::-1]},
        {"split": "novel"},
        {"splits": {"novel": [2]}},
        {"name": "other"},
    ],
    ids=["pixels", "shape", "labels", "split", "splits", "name"],
)
def test_what_differs_is_kept_apart(tmp_path, change):
    arrays.load(X, Y, tmp_path)
    arrays.load(**{"X": X, "y": Y, "root": tmp_path} | change)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_images_are_memory_mapped_and_named(tmp_path):
    dataset = arrays.load(X, Y, tmp_path, name="My Arrays")
    assert dataset.name == "my-arrays"
    assert isinstance(dataset.images, np.memmap)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X.reshape(6, 72), r"X has shape \(6, 72\)"),
        (np.zeros((2, 3, 5, 4), np.uint8), "either axis 1 or axis 3 can be channels"),
        (np.zeros((2, 5, 3, 5), np.uint8), "no axis can be channels"),
        (np.zeros((0, 5, 5), np.uint8), "it holds no image"),
        (X.astype(np.int64), "X is int64: give uint8"),
        (X.astype(float), "X holds floats from 0 to 255: scale them to \\[0, 1\\]"),
        (np.full((6, 2, 2), -0.1), "X holds floats from -0.1 to -0.1"),
        (np.full((6, 2, 2), np.nan), r"X has 24 values .* infinite, the first is in X\[0\]"),
        (infinite(3), r"X has 2 values that are NaN or infinite, the first is in X\[3\]"),
        ([[[1.0]], [[1.0, 2.0]]], "X cannot be read as an array"),
        (X[:5], "X has 5 images but y has 6 labels"),
    ],
)
def test_images_of_another_form_are_refused(tmp_path, given, said):
    with pytest.raises(UsageError, match=said) as caught:
        arrays.load(given, Y, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "labels",
    [Y / 2, Y[:, None], Y > 3, np.array([1, "a", 0, 2, 3, 4], dtype=object)],
    ids=["floats", "columns", "bools", "mixed"],
)
def test_labels_of_another_form_are_refused(tmp_path, labels):
    with pytest.raises(UsageError, match="give one integer or string per image"):
        arrays.load(X, labels, tmp_path)


@pytest.mark.parametrize(
    "given", [[1, "1", 2, 2, 3, 3], [1, True, 2, 2, 3, 3], np.array([1, "1", 2, 2, 3, 3], object)]
)
def test_labels_of_two_types_are_not_merged(tmp_path, given):
    with pytest.raises(UsageError, match=r"y mixes (int and str|bool and int): give one integer"):
        arrays.load(X, given, tmp_path)


@pytest.mark.parametrize("form", [list, lambda labels: np.array(labels, object), pd.Series])
def test_labels_that_differ_by_a_nul_at_the_end_are_not_merged(tmp_path, form):
    with pytest.raises(UsageError, match=r"y\[1\] ends with a NUL character: remove it"):
        arrays.load(X, form(["a", "a\0", "b", "b", "c", "c"]), tmp_path)


@pytest.mark.parametrize("form", [list, lambda labels: np.array(labels, object), pd.Series])
def test_a_class_may_be_called_nan(tmp_path, form):
    dataset = arrays.load(X, form(["nan", "NaT", "<NA>", "nan", "None", "a"]), tmp_path)
    assert set(dataset.classes) == {"nan", "NaT", "<NA>", "None", "a"}


def test_integers_as_objects_are_classes_in_numeric_order(tmp_path):
    assert arrays.load(X, Y.astype(object), tmp_path).classes == ("2", "3", "10")
    assert arrays.load(X, list(Y), tmp_path).classes == ("2", "3", "10")


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown split 'train'"):
        arrays.load(X, Y, tmp_path, splits={"train": [2]})
    with pytest.raises(UsageError, match="unknown split 'train'"):
        arrays.load(X, Y, tmp_path, split="train")


def test_a_label_that_nothing_has_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown label in split novel '7'"):
        arrays.load(X, Y, tmp_path, splits={"novel": [2, 7]})


def test_a_label_in_two_splits_is_refused(tmp_path):
    with pytest.raises(DataError, match="class '2' is in both base and novel"):
        arrays.load(X, Y, tmp_path, splits={"base": [2], "novel": [2, 3]})


@pytest.mark.parametrize(
    "given",
    [(X > 100).astype(np.uint8), X / 255 / 255, np.full(X.shape, 200, np.uint8), X // 16],
    ids=["masks", "divided twice", "blank", "four bits"],
)
def test_images_without_contrast_are_refused(tmp_path, given):
    with pytest.raises(UsageError, match=r"X: .*scale X so that"):
        arrays.load(given, Y, tmp_path)


def test_one_bright_image_does_not_hide_that_others_are_dark(tmp_path, caplog):
    given = X.copy()
    given[1:] //= 50
    assert np.array_equal(arrays.load(given, Y, tmp_path).images[:, 0], given)
    count = len(X) - 1
    assert f"{count} of {len(X)} images in X use less than a tenth of the range" in caplog.text
    assert "the first is X[1]" in caplog.text


def test_dark_images_among_others_stay_as_they_are(tmp_path):
    given = X.copy()
    given[0] //= 50
    assert np.array_equal(arrays.load(given, Y, tmp_path).images[:, 0], given)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "a", float("nan"), "b", "b", float("nan")],
        np.array(["a", "a", float("nan"), "b", "b", float("nan")]),
        [1, 1, float("nan"), 2, 2, float("nan")],
        np.array([1, 1, None, "b", 2, np.nan], dtype=object),
        pd.Series(["a", "a", None, "b", "b", pd.NA]),
        pd.Series([1, 1, None, 2, 2, None], dtype="Int64"),
        pd.Series(["a", "a", None, "b", "b", None], dtype="category"),
        pd.to_datetime(pd.Series(["2020", "2020", None, "2021", "2021", None])),
        ["a", "a", "", "b", "b", " "],
    ],
    ids=["texts", "array", "numbers", "objects", "series", "Int64", "category", "times", "blank"],
)
def test_missing_labels_are_counted_and_located(tmp_path, labels):
    with pytest.raises(UsageError, match=r"no label at 2 of 6 places, the first is y\[2\]"):
        arrays.load(X, labels, tmp_path)


@pytest.mark.parametrize("what", ["X", "y"])
def test_masked_values_are_refused(tmp_path, what):
    given = {"X": X, "y": Y}
    given[what] = np.ma.masked_equal(given[what], given[what].flat[0])
    with pytest.raises(UsageError, match=rf"{what} has \d+ masked values"):
        arrays.load(**given, root=tmp_path)


def test_nothing_masked_is_a_plain_array(tmp_path):
    assert arrays.load(np.ma.array(X), np.ma.array(Y), tmp_path).classes == ("2", "3", "10")


def test_labels_that_differ_only_in_case_are_not_split(tmp_path):
    labels = ["Cat", "cat", "dog", "dog", "eel", "eel"]
    splits = {"base": ["Cat", "dog"], "novel": ["cat"]}
    with pytest.raises(DataError, match="'Cat' of base and class 'cat' of novel differ only in"):
        arrays.load(X, labels, tmp_path, splits=splits)
    assert arrays.load(X, labels, tmp_path, split="novel").classes == ("Cat", "cat", "dog", "eel")
