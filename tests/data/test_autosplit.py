"""Classes without splits are divided by their names alone."""

from __future__ import annotations

import hashlib

import pytest

from metabench.data.autosplit import split_classes
from metabench.errors import UsageError


def named(classes, split="auto"):
    return {k: [classes[i] for i in ids] for k, ids in split_classes(classes, split).items()}


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (0, 0, 1)), (3, (1, 0, 2)), (5, (3, 1, 1)), (12, (7, 2, 3)), (100, (60, 20, 20))],
)
def test_three_fifths_are_base_one_fifth_validation_the_rest_novel(count, expected):
    splits = split_classes([f"class {i}" for i in range(count)], "auto")
    assert tuple(len(splits[name]) for name in ("base", "validation", "novel")) == expected
    assert sorted(i for ids in splits.values() for i in ids) == list(range(count))


def test_classes_are_taken_in_the_order_of_their_digests():
    classes = [f"class {i}" for i in range(10)]
    order = sorted(classes, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    splits = named(classes)
    assert set(splits["base"]) == set(order[:6])
    assert set(splits["validation"]) == set(order[6:8])
    assert set(splits["novel"]) == set(order[8:])


def test_the_order_of_classes_does_not_matter():
    classes = [f"class {i}" for i in range(20)]
    forward, backward = named(classes), named(classes[::-1])
    assert {k: set(v) for k, v in forward.items()} == {k: set(v) for k, v in backward.items()}


def test_all_classes_can_be_novel():
    assert named(["a", "b", "c"], "novel") == {
        "base": [],
        "validation": [],
        "novel": ["a", "b", "c"],
    }


def test_an_unknown_way_to_split_is_named():
    with pytest.raises(UsageError, match="unknown split 'nuvel': did you mean 'novel'"):
        split_classes(["a"], "nuvel")
