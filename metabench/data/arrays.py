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
_WRITTEN_NAN = {"nan", "NaT", "<NA>"}  # NumPy's texts of a missing value


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
        y: [M] labels, all integers or all strings; none may be missing.
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
        if hasattr(given, "element_size"):  # a tensor of torch
            given = given.detach().cpu()
            if given.is_floating_point() and given.element_size() < 4:
                given = given.float()  # NumPy has no bfloat16
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
    array = array.astype(np.promote_types(array.dtype, np.float32), copy=False)  # 16 bits round
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        odd = np.count_nonzero(~np.isfinite(array), axis=(1, 2, 3))
        raise UsageError(
            f"X has {odd.sum():,} values that are NaN or infinite, the first is in "
            f"X[{odd.astype(bool).argmax()}]: replace them or remove these images"
        )
    if not 0 <= low <= high <= 1:
        raise UsageError(f"X holds floats from {low:g} to {high:g}: scale them to [0, 1]")
    levels: npt.NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return levels


def _labels(y: Any) -> tuple[tuple[str, ...], Indices]:
    """Return class names, in the order of their labels, and [M] class ids."""
    array = _array("y", y)
    # In an array of texts, 1 equals "1", NaN is a text too, and a NUL at the end is lost.
    given = array if hasattr(y, "dtype") else np.asarray(y, object)
    numbers = given.dtype.kind in "iub"
    missing = [] if numbers else [i for i, label in enumerate(given.ravel()) if _missing(label)]
    if missing:
        raise UsageError(
            f"y has no label at {len(missing)} of {given.size} places, the first is "
            f"y[{missing[0]}]: remove these rows"
        )
    types = {_type(label) for label in given.flat} if given.dtype.kind == "O" else set()
    if len(types) > 1:
        raise UsageError(
            f"y mixes {' and '.join(sorted(types))}: give one integer or string per image, all of "
            "one type"
        )
    if types == {"int"}:
        array = np.asarray(given.tolist())
    if types == {"str"}:
        cut = [i for i, label in enumerate(given.ravel()) if label.endswith("\0")]
        if cut:
            raise UsageError(f"y[{cut[0]}] ends with a NUL character: remove it")
        array = given.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise UsageError(
            f"y is {array.dtype} of shape {array.shape}: give one integer or string per image"
        )
    found, ids = np.unique(array, return_inverse=True)
    return tuple(str(label) for label in found), ids.astype(np.int64)


def _missing(label: Any) -> bool:
    if isinstance(label, str):
        return not label.strip() or (isinstance(label, np.str_) and label in _WRITTEN_NAN)
    try:
        return label is None or bool(label != label)  # NaN and NaT differ from themselves
    except (TypeError, ValueError):  # NA of pandas
        return True


def _type(label: Any) -> str:
    if isinstance(label, (bool, np.bool_)):
        return "bool"
    if isinstance(label, (int, np.integer)):
        return "int"
    return "str" if isinstance(label, str) else type(label).__name__


def _ids(split: str, wanted: Any, classes: tuple[str, ...]) -> Indices:
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    labels = sorted({str(label) for label in _array(f"splits[{split}]", wanted).ravel()})
    for label in labels:
        if label not in classes:
            raise unknown(f"label in split {split}", label, classes)
    return np.array([classes.index(label) for label in labels], dtype=np.int64)
