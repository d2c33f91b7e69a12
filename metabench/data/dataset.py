"""What every dataset is: images as one uint8 array, labels, class names and splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from metabench.errors import DataError

SPLITS = ("base", "validation", "novel")

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images with class-disjoint splits.

    Attributes:
        name: as it stands in suite names.
        images: [M, C, H, W] uint8, ink = 255; read-only, usually a memory map.
        labels: [M] int64, the class id of each image.
        classes: the name of each class id.
        splits: class ids of "base", "validation" and "novel"; a missing split is empty.
        pixels: SHA-256 hex digest of the images' bytes.
        facts: how the images came about, e.g. {"resample": "bilinear"}.

    Raises:
        DataError: splits overlap, or labels do not fit images or class names.
    """

    name: str
    images: npt.NDArray[np.uint8]
    labels: Indices
    classes: tuple[str, ...]
    splits: Mapping[str, Indices]
    pixels: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.images):
            raise DataError(
                f"dataset {self.name}: {len(self.images)} images but {len(self.labels)} labels"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(f"dataset {self.name}: a label is outside 0..{len(self.classes) - 1}")
        seen: dict[int, str] = {}
        for split in SPLITS:
            for c in self.split(split):
                if int(c) in seen:
                    raise DataError(
                        f"dataset {self.name}: class '{self.classes[c]}' is in both "
                        f"{seen[int(c)]} and {split}"
                    )
                seen[int(c)] = split

    def split(self, name: str) -> Indices:
        """The class ids of a split, ascending; empty if there is no such split."""
        return np.sort(np.asarray(self.splits.get(name, ()), dtype=np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W)."""
        return tuple(self.images.shape[1:])

    @cached_property
    def images_of(self) -> tuple[Indices, ...]:
        """For each class id, the indices of its images, ascending."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=len(self.classes)))
        return tuple(np.split(order, ends[:-1]))

    @cached_property
    def content(self) -> str:
        """SHA-256 hex digest of what episodes are drawn from: classes, labels and splits.

        It leaves pixels out: the same classes resized by another version of an image
        library give the same episodes, and `pixels` tells the difference.
        """
        splits = {name: self.split(name).tolist() for name in SPLITS}
        digest = hashlib.sha256(json.dumps([list(self.classes), splits]).encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        return digest.hexdigest()


def pixels_digest(images: npt.NDArray[np.uint8]) -> str:
    """SHA-256 hex digest of an image array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
