"""The form of every dataset: examples in one array, labels, class names and splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from metabench.errors import DataError
from metabench.text import folded, without_hidden

SPLITS = ("base", "validation", "novel")

Indices = npt.NDArray[np.int64]
Examples = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Targets = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images with class-disjoint splits, or functions whose points are the examples.

    Attributes:
        name: the name, as in suite names.
        images: [M, C, H, W] uint8, ink = 255; read-only, usually a memory map. For functions,
            their points, [M, *shape] float32.
        labels: [M] int64, the class id of each image.
        classes: the name of each class id.
        splits: class ids of "base", "validation" and "novel"; a missing split is empty.
        facts: how the images were made, e.g. {"resample": "bilinear"}.
        targets: [M, 1] float32, for functions: the value at each point, which is to be
            predicted. None: the class is to be predicted.
        pixels: SHA-256 hex digest of the images' bytes (for functions, of points and values);
            if empty, it is computed.

    Raises:
        DataError: images have the wrong type, splits overlap, labels do not fit images or class
            names, points or targets are not finite, or two names of classes are the same.
    """

    name: str
    images: Examples
    labels: Indices
    classes: tuple[str, ...]
    splits: Mapping[str, Indices]
    facts: Mapping[str, str] = field(default_factory=dict)
    targets: Targets | None = None
    pixels: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype not in (np.uint8, np.float32):
            raise DataError(
                f"dataset {self.name}: images are {self.images.dtype}, write uint8 from 0 to 255"
            )
        if not self.pixels:
            object.__setattr__(self, "pixels", pixels_digest(self.images, self.targets))
        if len(self.labels) != len(self.images):
            raise DataError(
                f"dataset {self.name}: {len(self.images)} images but {len(self.labels)} labels"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(f"dataset {self.name}: a label is outside 0..{len(self.classes) - 1}")
        targets = self.targets
        if targets is not None and (
            targets.shape != (len(self.images), 1) or targets.dtype != np.float32
        ):
            raise DataError(
                f"dataset {self.name}: targets are {targets.dtype} {list(targets.shape)}, write "
                f"float32 [{len(self.images)}, 1]"
            )
        for what, values in (("points", self.images), ("targets", targets)):
            if values is not None and values.dtype == np.float32:
                self._check_finite(what, values)
        split_of: dict[int, str] = {}
        for split in SPLITS:
            for c in self.split(split).tolist():
                if split_of.setdefault(c, split) != split:
                    raise DataError(
                        f"dataset {self.name}: class '{self.classes[c]}' is in both {split_of[c]} "
                        f"and {split}"
                    )
        if targets is None:  # the names of functions are rounded parameters
            self._check_names(split_of)

    def _check_finite(self, what: str, values: Examples) -> None:
        finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if not finite.all():
            raise DataError(
                f"dataset {self.name}: {what} of {np.count_nonzero(~finite):,} of {len(values):,} "
                f"examples are NaN or infinite, the first is example {np.argmin(finite)}: remove "
                "these examples"
            )

    def _check_names(self, split_of: Mapping[int, str]) -> None:
        """Raise a DataError if two names may mean one class, because copying changed a spelling.

        Names that differ only in case, width or outer spaces may be two classes, such as letters,
        but they must not be in two splits.
        """
        exact: dict[str, int] = {}
        alike: dict[str, int] = {}
        for c, name in enumerate(self.classes):
            normal = without_hidden(name)
            other = exact.setdefault(normal, c)
            if other != c:
                raise DataError(
                    f"dataset {self.name}: classes {other} and {c} are both called '{normal}', "
                    "perhaps in two Unicode forms or with hidden characters: give them one name"
                )
            if c not in split_of:
                continue
            other = alike.setdefault(folded(name), c)
            if split_of[other] != split_of[c]:
                raise DataError(
                    f"dataset {self.name}: class '{self.classes[other]}' of {split_of[other]} and "
                    f"class '{name}' of {split_of[c]} differ only in case, width or outer spaces: "
                    "rename one or put both into one split"
                )

    def split(self, name: str) -> Indices:
        """Return the class ids of a split, ascending; empty if there is no such split."""
        return np.sort(np.asarray(self.splits.get(name, ()), dtype=np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, (C, H, W) for images."""
        return tuple(self.images.shape[1:])

    @cached_property
    def images_of(self) -> tuple[Indices, ...]:
        """The indices of each class's images, ascending."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=len(self.classes)))
        return tuple(np.split(order, ends[:-1]))

    @cached_property
    def content(self) -> str:
        """The SHA-256 hex digest of classes, labels and splits, which episodes are drawn from.

        Pixels do not count, so that the same classes resized by another version of an image
        library give the same episodes. `pixels` shows the difference.
        """
        splits = {name: self.split(name).tolist() for name in SPLITS}
        digest = hashlib.sha256(json.dumps([list(self.classes), splits]).encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        return digest.hexdigest()


def truth(members: Indices, labels: Indices, targets: Targets | None) -> Indices | Targets:
    """Return the true answers for examples of an episode: their labels, or their targets.

    Args:
        members: [..., n] indices of the examples.
        labels: [..., n] their labels in the episode.
        targets: the dataset's targets, if classes are functions.

    Returns:
        [..., n] int64, or [..., n, 1] float32.
    """
    return labels if targets is None else targets[members]


def pixels_digest(images: Examples, targets: Targets | None = None) -> str:
    """Return the SHA-256 hex digest of an image array's bytes, or of points and values."""
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    if targets is not None:
        digest.update(np.ascontiguousarray(targets).data)
    return digest.hexdigest()
