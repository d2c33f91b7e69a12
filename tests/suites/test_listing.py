"""Episodes of a manifest file, in the order that learners get them."""

from __future__ import annotations

import numpy as np

from metabench.data.dataset import Dataset
from metabench.data.manifest_file import Listing
from metabench.suites.listing import Listed


def test_support_sets_come_label_by_label_in_the_order_of_the_list() -> None:
    images = np.arange(12, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((4, 4), np.uint8)
    dataset = Dataset(
        name="listed",
        images=images,
        labels=np.arange(12),
        classes=tuple("abcdefghijkl"),
        splits={},
    )
    listing = Listing(
        name="listed",
        way=3,
        shot=2,
        queries=2,
        support=np.array([[0, 1, 2, 3, 4, 5]]),
        support_y=np.array([[2, 0, 1, 1, 2, 0]]),
        query=np.array([[6, 7, 8, 9, 10, 11]]),
        query_y=np.array([[0, 1, 2, 0, 1, 2]]),
    )
    manifest = Listed(listing).manifest(dataset)
    assert manifest.support_y.tolist() == [[0, 0, 1, 1, 2, 2]]
    assert manifest.support.tolist() == [[1, 5, 2, 3, 0, 4]]
    label_of = dict(zip(listing.query[0], listing.query_y[0], strict=True))
    assert [label_of[image] for image in manifest.query[0]] == manifest.query_y[0].tolist()
