from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabench.data.dataset import Dataset
from metabench.suites.protocol import BySplit, Chunks


def make_dataset(per_class: int = 20, classes: int = 4) -> Dataset:
    images = np.arange(per_class * classes, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (len(images), 1, 2, 2)).copy()
    return Dataset(
        name="made",
        images=images,
        labels=np.tile(np.arange(classes), per_class),
        classes=tuple(f"c{i}" for i in range(classes)),
        splits={"base": np.array([0, 2]), "novel": np.array([1, 3])},
    )


def test_each_split_has_the_images_of_its_classes() -> None:
    dataset = make_dataset()
    pools = BySplit().pools(dataset)
    assert set(pools) == {"base", "novel"}  # there are no validation classes
    assert pools["base"].names == ("c0", "c2")
    assert set(dataset.labels[pools["novel"].images]) == {1, 3}
    assert len(pools["novel"].images) == 40


def test_chunks_are_disjoint_and_complete() -> None:
    dataset = make_dataset(per_class=37)
    pools = Chunks(chunks=5, base=3).pools(dataset)
    base, novel = pools["base"], pools["novel"]
    assert len(base.groups) == 3
    assert len(novel.groups) == 2
    everything = np.concatenate([base.images, novel.images])
    assert np.array_equal(np.sort(everything), np.arange(len(dataset.images)))


def test_every_chunk_has_all_classes_and_separate_parts() -> None:
    dataset = make_dataset(per_class=40)
    for pool in Chunks(chunks=4, base=3).pools(dataset).values():
        assert pool.query is not None
        for group in pool.groups:
            assert sorted(pool.classes[group]) == [0, 1, 2, 3]
        for c, support, query in zip(pool.classes, pool.support, pool.query, strict=True):
            assert len(support) == 7
            assert len(query) == 3
            assert not set(support) & set(query)
            assert set(dataset.labels[support]) | set(dataset.labels[query]) == {c}


def test_chunks_do_not_follow_the_order_of_the_images() -> None:
    pool = Chunks(chunks=2, base=1).pools(make_dataset(per_class=50))["base"]
    first_half = np.concatenate([pool.support[0], pool.query[0]]) < 100  # type: ignore[index]
    assert 0.2 < first_half.mean() < 0.8


def test_protocols_of_other_numbers_have_other_names() -> None:
    assert Chunks(10, 7).name != Chunks(10, 6).name


@pytest.mark.parametrize("protocol", [BySplit(), Chunks(chunks=4, base=2)])
def test_pools_are_the_same_every_time(protocol: BySplit | Chunks, tmp_path: Path) -> None:
    first, second = (protocol.pools(make_dataset())["novel"] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.support, second.support, strict=True))
