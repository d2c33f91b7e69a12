"""Class folders become a dataset; what does not fit is named."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from metabench.data import folder
from metabench.data.autosplit import split_classes
from metabench.data.dataset import pixels_digest
from metabench.errors import DataError, UsageError


def tiny(name: str, side: int = 6) -> np.ndarray:
    """An image that differs from name to name."""
    seed = list(name.encode())
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path):
    """Make images under a folder called "My Pictures", each named by its path."""
    root = tmp_path / "My Pictures"
    root.mkdir()

    def make(*names: str):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tiny(name)).save(path)
        return root

    return make


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def by_split(dataset):
    return {s: [dataset.classes[c] for c in dataset.split(s)] for s in dataset.splits}


def test_each_folder_is_a_class(pictures, data):
    path = pictures("cat/2.png", "cat/1.png", "ant/x.png")
    dataset = folder.load(path, data, size=None)
    assert dataset.name == "folder-my-pictures"
    assert dataset.classes == ("ant", "cat")
    assert dataset.labels.tolist() == [0, 1, 1]
    expected = [tiny(name) for name in ("ant/x.png", "cat/1.png", "cat/2.png")]
    assert np.array_equal(dataset.images, np.stack(expected)[:, None])
    assert dataset.pixels == pixels_digest(dataset.images)


def test_alphabets_hold_characters(pictures, data):
    path = pictures("Greek/alpha/1.png", "Greek/beta/1.png", "Thai/ko/1.png", "Thai/ko/2.png")
    dataset = folder.load(path, data)
    assert dataset.classes == ("Greek/alpha", "Greek/beta", "Thai/ko")
    assert dataset.labels.tolist() == [0, 1, 2, 2]


def test_classes_are_divided_by_their_names(pictures, data):
    path = pictures(*(f"class {i}/1.png" for i in range(10)))
    dataset = folder.load(path, data)
    expected = split_classes(dataset.classes, "auto")
    assert {k: v.tolist() for k, v in dataset.splits.items()} == {
        k: v.tolist() for k, v in expected.items()
    }
    assert [len(dataset.split(s)) for s in ("base", "validation", "novel")] == [6, 2, 2]


def test_every_class_can_be_novel(pictures, data):
    dataset = folder.load(pictures("a/1.png", "b/1.png"), data, split="novel")
    assert by_split(dataset) == {"base": [], "validation": [], "novel": ["a", "b"]}


@pytest.mark.parametrize(
    "names",
    [
        {"base": "base", "validation": "validation", "novel": "novel"},
        {"train": "base", "val": "validation", "test": "novel"},
        {"train": "base", "test": "novel"},
        {"novel": "novel"},
    ],
    ids=lambda names: "-".join(names),
)
@pytest.mark.parametrize("inside", ["", "alphabet/"])
def test_folders_named_as_splits_are_the_splits(pictures, data, names, inside):
    path = pictures(*(f"{name}/{inside}of {split}/1.png" for name, split in names.items()))
    dataset = folder.load(path, data)
    expected = {split: [] for split in ("base", "validation", "novel")}
    expected |= {split: [f"{inside}of {split}"] for split in names.values()}
    assert by_split(dataset) == expected


def test_split_folders_may_all_be_novel(pictures, data):
    dataset = folder.load(pictures("train/a/1.png", "test/b/1.png"), data, split="novel")
    assert by_split(dataset) == {"base": [], "validation": [], "novel": ["a", "b"]}


def test_without_a_novel_folder_split_names_are_alphabets(pictures, data):
    dataset = folder.load(pictures("train/a/1.png", "val/b/1.png"), data)
    assert dataset.classes == ("train/a", "val/b")


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "validation", "test"),
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("train", "val", "test", "extra"),
    ],
    ids="-".join,
)
def test_what_looks_like_splits_and_is_none_is_refused(pictures, data, folders):
    path = pictures(*(f"{name}/of {name}/1.png" for name in folders))
    with pytest.raises(DataError, match="look like splits, which are called"):
        folder.load(path, data)


def test_classes_may_be_called_as_splits_are(pictures, data):
    assert folder.load(pictures("train/1.png", "test/1.png", "bus/1.png"), data).classes == (
        "bus",
        "test",
        "train",
    )


def test_of_two_folders_with_equal_times_each_has_its_own_images(pictures, data, tmp_path):
    path = pictures("a/1.png", "b/1.png")
    other = tmp_path / "other" / path.name
    shutil.copytree(path, other)
    for root, value in ((path, 10), (other, 200)):
        for file in sorted(root.rglob("*.png")):
            image = Image.new("L", (4, 4), value)
            file.unlink()
            image.save(file.with_suffix(".pgm"))
            os.utime(file.with_suffix(".pgm"), ns=(0, 0))
    assert folder.load(path, data, size=None).images.max() == 10
    assert folder.load(other, data, size=None).images.min() == 200


def test_images_of_different_sizes_are_resized(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    Image.fromarray(tiny("wide", 9)[:5]).save(path / "b" / "2.png")
    dataset = folder.load(path, data, size=4)
    assert dataset.images.shape == (3, 1, 4, 4)
    assert dataset.facts["resample"] == "bilinear"
    with pytest.raises(DataError, match=r"b/2\.png is 9x5"):
        folder.load(path, data, size=None)


def test_dark_ink_can_be_made_bright(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    plain, inverted = (folder.load(path, data, invert=invert) for invert in (False, True))
    assert np.array_equal(inverted.images, 255 - plain.images)


def test_other_files_and_hidden_ones_are_passed_over(pictures, data):
    path = pictures("a/1.png", "b/1.png", "a/.2.png", ".hidden/1.png", "__MACOSX/a/1.png")
    (path / "a" / "notes.txt").write_text("a note")
    (path / "labels.csv").write_text("a,b")
    assert len(folder.load(path, data).images) == 2


def test_the_second_time_no_image_is_read(pictures, data, monkeypatch):
    path = pictures("a/1.png", "b/1.png")
    first = folder.load(path, data)
    monkeypatch.setattr(folder, "read_images", None)
    again = folder.load(path, data)
    assert np.array_equal(first.images, again.images)
    assert again.content == first.content


def test_a_changed_image_is_read_again(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    before = folder.load(path, data, size=None).pixels
    Image.fromarray(tiny("other")).save(path / "a" / "1.png")
    os.utime(path / "a" / "1.png", ns=(10**18, 10**18))
    assert folder.load(path, data, size=None).pixels != before


def test_a_copy_elsewhere_has_the_same_content_and_pixels(pictures, data, tmp_path):
    path = pictures("a/1.png", "b/1.png")
    shutil.copytree(path, tmp_path / "elsewhere")
    one, other = folder.load(path, data), folder.load(tmp_path / "elsewhere", data)
    assert (one.content, one.pixels) == (other.content, other.pixels)


def test_a_folder_that_is_not_there_is_named(data, tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        folder.load(tmp_path / "nowhere", data)


@pytest.mark.parametrize("content", [[], ["1.png", "2.png"]], ids=["empty", "no class folders"])
def test_a_folder_without_class_folders_is_refused(pictures, data, content):
    with pytest.raises(DataError, match=r"no images in folders of .*My Pictures"):
        folder.load(pictures(*content), data)


def test_empty_class_folders_alone_are_refused(pictures, data):
    (pictures() / "a").mkdir()
    with pytest.raises(DataError, match=r"no images in folders of .*My Pictures"):
        folder.load(pictures(), data)


@pytest.mark.parametrize("empty", ["b", "alphabet/b"])
def test_a_class_without_images_is_named(pictures, data, empty):
    path = pictures(empty.removesuffix("b") + "a/1.png")
    (path / empty).mkdir()
    with pytest.raises(DataError, match=rf"class {empty} of .* has no images"):
        folder.load(path, data)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a/1.png", "greek/b/1.png"], ["/a", "/greek/b"]),
        (["a/1.png", "a/b/1.png"], ["/a", "/a/b"]),
        (["1.png", "a/1.png"], ["/a"]),
        (["a/b/c/1.png"], ["/a/b/c"]),
        (["train/a/1.png", "test/greek/b/1.png"], ["/train/a", "/test/greek/b"]),
    ],
)
def test_classes_at_different_depths_are_named(pictures, data, names, said):
    path = pictures(*names)
    with pytest.raises(DataError, match="depths") as caught:
        folder.load(path, data)
    assert all(str(path) + where in str(caught.value) for where in said)


def test_a_class_in_two_splits_is_named(pictures, data):
    path = pictures("train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    with pytest.raises(DataError, match=r"class cat of .* is in both novel and base"):
        folder.load(path, data)


def test_a_class_spelt_differently_in_two_splits_is_named(pictures, data):
    path = pictures("train/Cat/1.png", "train/dog/1.png", "test/cat/1.png")
    with pytest.raises(DataError, match=r"class Cat of .* is in both novel and base"):
        folder.load(path, data)


def test_a_broken_image_is_named(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    (path / "b" / "1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b/1\.png cannot be read"):
        folder.load(path, data)


def test_an_unknown_split_is_refused(pictures, data):
    with pytest.raises(UsageError, match="unknown split 'test'"):
        folder.load(pictures("a/1.png", "b/1.png"), data, split="test")
