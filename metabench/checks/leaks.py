"""Leaks in the data of a suite: between its splits, and between support sets and queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metabench.data.dataset import SPLITS, Dataset, Examples, Indices
from metabench.suites.open_suite import OpenSuite
from metabench.suites.seen import seen_in_training

_SHOWN = 3  # examples of each leak
_ROTATIONS = {90: 1, 180: 2, 270: 3}
# Two images with this correlation are the same picture, saved with other noise or brightness.
# Simple characters of two alphabets reach 0.97.
_NEAR = 0.995
_AT_ONCE = 4096  # images that are compared with all others at once


class Leak(NamedTuple):
    """The outcome of one check.

    Attributes:
        check: name of the check.
        found: number of leaks.
        examples: a few of them, in words.
        advice: what to do; "" without a leak.
    """

    check: str
    found: int
    examples: list[str]
    advice: str


OF_EPISODES = ("queries that are in the support set", "test examples in the training data")


def find_leaks(opened: OpenSuite, only: Collection[str] = ()) -> Iterator[Leak]:
    """Look for every kind of leak, one after the other.

    Args:
        opened: the suite.
        only: names of the checks to run; empty: all of them.
    """
    dataset = opened.dataset
    for name, find, advice in _CHECKS:
        if (dataset.targets is not None and name not in _ALSO_FUNCTIONS) or (
            only and name not in only
        ):
            continue
        found = list(find(opened))
        yield Leak(name, len(found), found[:_SHOWN], advice if found else "")


def _classes(opened: OpenSuite) -> Iterator[str]:
    """Find class names that are in two splits."""
    split_of: dict[str, str] = {}
    for split in SPLITS:
        for c in opened.dataset.split(split):
            name = opened.dataset.classes[c]
            first = split_of.setdefault(name, split)
            if first != split:
                yield f"class '{name}' is in {first} and {split}"


def _images(opened: OpenSuite) -> Iterator[str]:
    """Find equal images in two splits."""
    yield from _shared(opened.dataset, lambda images: images, "equals")


def _rotations(opened: OpenSuite) -> Iterator[str]:
    """Find images that are rotated copies of images of another split."""
    if opened.dataset.images.ndim != 4 or len(set(opened.dataset.shape[1:])) > 1:
        return
    for degrees, turns in _ROTATIONS.items():

        def turn(images: Examples, turns: int = turns) -> Examples:
            return np.rot90(images, turns, axes=(2, 3))

        yield from _shared(opened.dataset, turn, f"rotated by {degrees} degrees equals")


def _near(opened: OpenSuite) -> Iterator[str]:
    """Find images that are nearly identical to an image of another split."""
    dataset = opened.dataset
    parts = [(split, _members(dataset, split)) for split in SPLITS]
    flat = [(split, members, _standardised(dataset.images[members])) for split, members in parts]
    for i, (one, one_members, a) in enumerate(flat):
        for other, other_members, b in flat[i + 1 :]:
            for start in range(0, len(a), _AT_ONCE) if len(b) else ():
                alike = a[start : start + _AT_ONCE] @ b.T
                for x, y in np.argwhere(alike >= _NEAR):
                    m, n = one_members[start + x], other_members[y]
                    if not np.array_equal(dataset.images[m], dataset.images[n]):
                        yield (
                            f"{_shown(dataset, one, m)} is nearly {_shown(dataset, other, n)} "
                            f"(correlation {alike[x, y]:.4f})"
                        )


def _labels(opened: OpenSuite) -> Iterator[str]:
    """Find equal images in two classes of one split, which no learner can distinguish."""
    dataset = opened.dataset
    for split in SPLITS:
        first: dict[bytes, int] = {}
        for m in _members(dataset, split):
            n = first.setdefault(dataset.images[m].tobytes(), m)
            if dataset.labels[m] != dataset.labels[n]:
                yield f"{_shown(dataset, split, n)} equals {_shown(dataset, split, m)}"


def _overlap(opened: OpenSuite) -> Iterator[str]:
    """Find queries that are in the support set of their episode."""
    manifest, images = opened.episodes, np.asarray(opened.dataset.images)  # no slow memory map
    for k, (support, query) in enumerate(zip(manifest.support, manifest.query, strict=True)):
        shown = {images[m].tobytes(): m for m in support}
        for q in query:
            if images[q].tobytes() in shown:
                m = shown[images[q].tobytes()]
                equal = "is also" if q == m else f"equals example {m}, which is"
                yield f"episode {k}: query example {q} {equal} in the support set"


def _trained(opened: OpenSuite) -> Iterator[str]:
    """Find test examples in the data that learners are trained or selected on."""
    dataset = opened.dataset
    if opened.material is not None:
        for m in seen_in_training(opened, opened.material):
            yield f"example {m}, of class '{dataset.classes[dataset.labels[m]]}'"


_Find = Callable[[OpenSuite], Iterator[str]]
_CHECKS: tuple[tuple[str, _Find, str], ...] = (
    ("classes in two splits", _classes, "put each class into one split"),
    ("equal images in two splits", _images, "remove them from all splits but one"),
    ("rotated copies in two splits", _rotations, "keep all rotations of an image in one split"),
    ("near-identical images in two splits", _near, "inspect them, and remove copies"),
    ("equal images in two classes", _labels, "remove them, or correct their labels"),
    (
        "queries that are in the support set",
        _overlap,
        "draw queries from examples that are not in the support set",
    ),
    ("test examples in the training data", _trained, "train on other data"),
)
_ALSO_FUNCTIONS = frozenset({"classes in two splits", "test examples in the training data"})


def _members(dataset: Dataset, split: str) -> Indices:
    """Return the indices of the images of a split."""
    return np.flatnonzero(np.isin(dataset.labels, dataset.split(split)))


def _shared(dataset: Dataset, change: Callable[[Examples], Examples], what: str) -> Iterator[str]:
    """Find images that equal an image of another split after a change."""
    owners: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for split in SPLITS:
        for m in _members(dataset, split):
            owners[dataset.images[m].tobytes()].append((split, int(m)))
    for split in SPLITS:
        members = _members(dataset, split)
        for start in range(0, len(members), _AT_ONCE):
            some = members[start : start + _AT_ONCE]
            changed = np.ascontiguousarray(change(dataset.images[some]))
            for m, image in zip(some, changed, strict=True):
                for other, n in owners.get(image.tobytes(), ()):
                    if SPLITS.index(other) > SPLITS.index(split):  # each pair once
                        yield f"{_shown(dataset, split, m)} {what} {_shown(dataset, other, n)}"


def _standardised(images: Examples) -> npt.NDArray[np.float32]:
    """Scale rows [N, D] to mean 0 and length 1; images of one colour become 0."""
    flat = images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.maximum(lengths, 1e-6)
    return flat


def _shown(dataset: Dataset, split: str, member: int) -> str:
    return f"{split} {member} ('{dataset.classes[dataset.labels[member]]}')"
