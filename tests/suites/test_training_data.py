from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabench.data.dataset import Dataset
from metabench.errors import DataError
from metabench.suites.protocol import BySplit, Chunks
from metabench.suites.training_data import TrainingData


@pytest.fixture
def dataset() -> Dataset:
    """Nine classes, three a split, whose pixels tell the class."""
    labels = np.tile(np.arange(9), 20)
    images = np.broadcast_to(labels[:, None, None, None], (180, 1, 3, 3)).astype(np.uint8)
    return Dataset(
        name="made",
        images=images,
        labels=labels,
        classes=tuple("abcdefghi"),
        splits={
            "base": np.array([0, 3, 6]),
            "validation": np.array([1, 4, 7]),
            "novel": np.array([2, 5, 8]),
        },
    )


def material_of(dataset: Dataset) -> TrainingData:
    return TrainingData.of(dataset, "test", BySplit().pools(dataset))


def test_novel_images_are_left_out(dataset: Dataset) -> None:
    material = material_of(dataset)
    assert set(np.unique(material.images)) == {0, 3, 6, 1, 4, 7}
    assert len(material.images) == 120


def test_labels_are_those_of_the_base_images(dataset: Dataset) -> None:
    material = material_of(dataset)
    assert material.classes == 3
    pixels = material.images[: len(material.labels), 0, 0, 0]
    assert np.array_equal(np.array([0, 3, 6])[material.labels], pixels)


@pytest.mark.parametrize("name", ["images.npy", "pools.npz", "sha256.json"])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_saved_copy_with_one_changed_bit_is_refused(
    dataset: Dataset, tmp_path: Path, name: str, share: float
) -> None:
    material_of(dataset).save(tmp_path)
    TrainingData.load(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="has changed or is gone: run again"):
        TrainingData.load(tmp_path)


def test_training_episodes_hold_base_images_with_their_labels(dataset: Dataset) -> None:
    material = material_of(dataset)
    drawn = material.training(seed=0, first=0, count=200, way=2, shot=3, query=4)
    pixels = material.images[drawn.query][..., 0, 0, 0]
    assert set(np.unique(pixels)) == {0, 3, 6}
    assert np.array_equal(np.take_along_axis(drawn.classes, drawn.query_y, axis=1), pixels)


def test_validation_episodes_hold_validation_images(dataset: Dataset) -> None:
    material = material_of(dataset)
    drawn = material.validating(count=50, way=3, shot=1, query=5)
    assert drawn is not None
    assert set(np.unique(material.images[drawn.support])) == {1, 4, 7}


def test_training_differs_by_seed_and_not_by_what_was_drawn_before(dataset: Dataset) -> None:
    material = material_of(dataset)
    one = material.training(1, 0, 30, 2, 1, 5)
    late = material.training(1, 10, 5, 2, 1, 5)
    other = material.training(2, 0, 30, 2, 1, 5)
    assert np.array_equal(one.support[10:15], late.support)
    assert not np.array_equal(one.support, other.support)


def test_saved_and_loaded_it_draws_the_same(dataset: Dataset, tmp_path: Path) -> None:
    material = material_of(dataset)
    material.save(tmp_path)
    again = TrainingData.load(tmp_path)
    for draw in (lambda m: m.training(0, 3, 9, 2, 1, 5), lambda m: m.validating(9, 2, 1, 5)):
        assert all(np.array_equal(a, b) for a, b in zip(draw(material), draw(again), strict=True))
    assert np.array_equal(material.images, again.images)
    assert again.classes == 3


def test_chunks_have_the_labels_of_the_whole_set(dataset: Dataset) -> None:
    protocol = Chunks(chunks=4, base=3)
    material = TrainingData.of(dataset, protocol.name, protocol.pools(dataset))
    assert material.classes == 9
    assert material.validation is None
    assert len(material.images) == 135


def test_without_base_classes_there_is_nothing_to_train_on(dataset: Dataset) -> None:
    pools = {"novel": BySplit().pools(dataset)["novel"]}
    with pytest.raises(DataError, match="no base classes"):
        TrainingData.of(dataset, "test", pools)
