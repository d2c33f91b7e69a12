"""Datasets made from labelled arrays, kept in the data root under a key of their content."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metabench.data.autosplit import split_classes
from metabench.data.cache import cached, slug
from metabench.data.contrast import contrast_problem, faint, spread
from metabench.data.dataset import SPLITS, Dataset, Indices
from metabench.errors import UsageError, reason, unknown

_log = logging.getLogger(__name__)

_MAX_CHANNELS = 4
_WRITTEN_NAN = {"nan", "NaT", "<NA>"}  # texts that NumPy and pandas make of a missing value


def load(
    X: Any,  # noqa: N803 - the conventional name in scikit-learn
    y: Any,
    root: Path,
    name: str = "arrays",
    splits: Mapping[str, Any] | None = None,
    split: str = "auto",
) -> Dataset:
    """Make a dataset from images and labels.

    Args:
        X: anything that `numpy.asarray` accepts: [M, H, W], [M, C, H, W] or [M, H, W, C] with
            1 to 4 channels. An array that could have either of the last two forms is refused.
            Values are uint8, bool, or floats in [0, 1], which are rounded to 256 levels. Ink
            should be bright.
        y: [M] labels, integers or strings; none may be missing.
        root: the data root; the arrays are kept there.
        name: the name of the dataset; it is changed to lower-case words joined by hyphens.
        splits: the labels of "base", "validation" and "novel"; other classes are not used.
        split: the rule of `autosplit.split_classes` that is used if `splits` is None.

    Raises:
        UsageError: arrays or splits do not have this form, labels are missing, or the images have
            almost no contrast.
        DataError: a label is in two splits, or the data root cannot be written to.
    """
    images = np.ascontiguousarray(_bytes(_channels_first(_array("X", X))))
    problem = contrast_problem(images)
    if problem:
        raise UsageError(f"X: {problem}: scale X so that its largest value is 1.0 (255 for uint8)")
    classes, labels = _labels(y)
    if len(images) != len(labels):
        raise UsageError(f"X has {len(images)} images but y has {len(labels)} labels")
    dark = faint(*(f(images, axis=(1, 2, 3)) for f in (np.min, np.max)))
    if dark.any() and spread(dark, labels):
        _log.warning(
            "%d of %d images in X use less than a tenth of the range, the first is X[%d]: "
            "multiply them if their values have another range than the others",
            np.count_nonzero(dark),
            len(images),
            dark.argmax(),
        )
    facts = {"resample": "none"}
    if splits is None:
        ids = split_classes(classes, split)
        facts["split"] = split
    else:
        ids = {part: _ids(part, wanted, classes) for part, wanted in splits.items()}
    dataset = Dataset(
        name=slug(name),
        images=images,
        labels=labels,
        classes=classes,
        splits=ids,
        facts=facts,
    )
    key = json.dumps([dataset.pixels, dataset.shape, dataset.content])
    return cached(root, dataset.name, key, lambda: dataset)


def _array(what: str, given: Any) -> npt.NDArray[Any]:
    if np.ma.is_masked(given):
        count = np.count_nonzero(np.ma.getmaskarray(given))
        raise UsageError(f"{what} has {count:,} masked values: fill or remove them")
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{what} cannot be read as an array: {reason(error)}") from error


def _channels_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not array.size:
        raise UsageError(f"X has shape {array.shape}: it holds no image")
    if array.ndim == 3:
        return array[:, None]
    forms = "[M, H, W], [M, C, H, W] or [M, H, W, C] with 1 to 4 channels"
    if array.ndim != 4:
        raise UsageError(f"X has shape {array.shape}: give {forms}")
    first = array.shape[1] <= _MAX_CHANNELS
    last = array.shape[3] <= _MAX_CHANNELS
    if first == last:
        which = "either axis 1 or axis 3" if first else "no axis"
        raise UsageError(f"X has shape {array.shape}, where {which} can be channels: give {forms}")
    return array if first else array.transpose(0, 3, 1, 2)


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind != "f":
        raise UsageError(f"X is {array.dtype}: give uint8, or floats in [0, 1]")
    low, high = array.min(), array.max()
    if not 0 <= low <= high <= 1:  # false for NaN too
        raise UsageError(f"X holds floats from {low:g} to {high:g}: scale them to [0, 1]")
    levels: npt.NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return levels


def _labels(y: Any) -> tuple[tuple[str, ...], Indices]:
    """Return class names, in the order of their labels, and [M] class ids."""
    array = _array("y", y)
    # NumPy writes NaN as text if a list also has texts.
    given = array if hasattr(y, "dtype") or array.dtype.kind != "U" else np.asarray(y, object)
    numbers = given.dtype.kind in "iub"
    missing = [] if numbers else [i for i, label in enumerate(given.ravel()) if _missing(label)]
    if missing:
        raise UsageError(
            f"y has no label at {len(missing)} of {given.size} places, the first is "
            f"y[{missing[0]}]: remove these rows"
        )
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):
        array = array.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise UsageError(
            f"y is {array.dtype} of shape {array.shape}: give one integer or string per image"
        )
    found, ids = np.unique(array, return_inverse=True)
    return tuple(str(label) for label in found), ids.astype(np.int64)


def _missing(label: Any) -> bool:
    if isinstance(label, str):
        return not label.strip() or label in _WRITTEN_NAN
    try:
        return label is None or bool(label != label)  # NaN and NaT differ from themselves
    except (TypeError, ValueError):  # NA of pandas
        return True


def _ids(split: str, wanted: Any, classes: tuple[str, ...]) -> Indices:
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    labels = sorted({str(label) for label in _array(f"splits[{split}]", wanted).ravel()})
    for label in labels:
        if label not in classes:
            raise unknown(f"label in split {split}", label, classes)
    return np.array([classes.index(label) for label in labels], dtype=np.int64)
