"""Splits for classes that have none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from metabench.data.dataset import SPLITS, Indices
from metabench.errors import unknown

WAYS = ("auto", "novel")


def split_classes(classes: Sequence[str], split: str) -> dict[str, Indices]:
    """Split classes by their names alone, so that splits are the same on every machine.

    Args:
        classes: the name of each class id.
        split: "auto": in the order of the SHA-256 of their names, the first three fifths
            are base, the next fifth validation, the rest novel. "novel": all are novel.

    Raises:
        UsageError: there is no such rule.
    """
    if split not in WAYS:
        raise unknown("split", split, WAYS)
    order = sorted(range(len(classes)), key=lambda c: hashlib.sha256(classes[c].encode()).digest())
    base = len(order) * 3 // 5 if split == "auto" else 0
    novel = base + len(order) // 5 if split == "auto" else 0
    parts = np.split(np.array(order, dtype=np.int64), [base, novel])
    return {name: np.sort(ids) for name, ids in zip(SPLITS, parts, strict=True)}
