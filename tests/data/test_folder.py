"""Class folders become a dataset; what does not fit is named."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket

import numpy as np
import pytest
from PIL import Image

from metabench.data import folder
from metabench.data.autosplit import split_classes
from metabench.data.dataset import pixels_digest
from metabench.data.images import Reading
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


def load(path, root, size=28, split="auto", **more):
    return folder.load(path, root, Reading(size, **more), split=split)


def by_split(dataset):
    return {s: [dataset.classes[c] for c in dataset.split(s)] for s in dataset.splits}


def test_each_folder_is_a_class(pictures, data):
    path = pictures("cat/2.png", "cat/1.png", "ant/x.png")
    dataset = load(path, data, size=None)
    assert dataset.name == "folder-my-pictures"
    assert dataset.classes == ("ant", "cat")
    assert dataset.labels.tolist() == [0, 1, 1]
    expected = [tiny(name) for name in ("ant/x.png", "cat/1.png", "cat/2.png")]
    assert np.array_equal(dataset.images, np.stack(expected)[:, None])
    assert dataset.pixels == pixels_digest(dataset.images)


def test_alphabets_hold_characters(pictures, data):
    path = pictures("Greek/alpha/1.png", "Greek/beta/1.png", "Thai/ko/1.png", "Thai/ko/2.png")
    dataset = load(path, data)
    assert dataset.classes == ("Greek/alpha", "Greek/beta", "Thai/ko")
    assert dataset.labels.tolist() == [0, 1, 2, 2]


def test_classes_are_divided_by_their_names(pictures, data):
    path = pictures(*(f"class {i}/1.png" for i in range(10)))
    dataset = load(path, data)
    expected = split_classes(dataset.classes, "auto")
    assert {k: v.tolist() for k, v in dataset.splits.items()} == {
        k: v.tolist() for k, v in expected.items()
    }
    assert [len(dataset.split(s)) for s in ("base", "validation", "novel")] == [6, 2, 2]


def test_every_class_can_be_novel(pictures, data):
    dataset = load(pictures("a/1.png", "b/1.png"), data, split="novel")
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
    dataset = load(path, data)
    expected = {split: [] for split in ("base", "validation", "novel")}
    expected |= {split: [f"{inside}of {split}"] for split in names.values()}
    assert by_split(dataset) == expected


def test_split_folders_may_all_be_novel(pictures, data):
    dataset = load(pictures("train/a/1.png", "test/b/1.png"), data, split="novel")
    assert by_split(dataset) == {"base": [], "validation": [], "novel": ["a", "b"]}


def test_without_a_novel_folder_split_names_are_alphabets(pictures, data):
    dataset = load(pictures("train/a/1.png", "val/b/1.png"), data)
    assert dataset.classes == ("train/a", "val/b")


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "validation", "test"),
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("train ", "test "),
        ("train", "val", "test", "extra"),
    ],
    ids="-".join,
)
def test_what_looks_like_splits_and_is_none_is_refused(pictures, data, folders):
    path = pictures(*(f"{name}/of {name}/1.png" for name in folders))
    with pytest.raises(DataError, match="look like splits: name them base, validation"):
        load(path, data)


def test_classes_may_be_called_as_splits_are(pictures, data):
    assert load(pictures("train/1.png", "test/1.png", "bus/1.png"), data).classes == (
        "bus",
        "test",
        "train",
    )


def test_of_two_folders_with_equal_times_each_has_its_own_images(pictures, data, tmp_path):
    path = pictures("a/1.png", "b/1.png")
    other = tmp_path / "other" / path.name
    shutil.copytree(path, other)
    for root, value in ((path, 0), (other, 100)):
        for file in sorted(root.rglob("*.png")):
            image = Image.fromarray(np.array([[value, value + 90]], dtype=np.uint8))
            file.unlink()
            image.save(file.with_suffix(".pgm"))
            os.utime(file.with_suffix(".pgm"), ns=(0, 0))
    assert load(path, data, size=None).images.max() == 90
    assert load(other, data, size=None).images.min() == 100


def test_images_of_different_sizes_are_resized(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    Image.fromarray(tiny("wide", 9)[:5]).save(path / "b" / "2.png")
    dataset = load(path, data, size=4)
    assert dataset.images.shape == (3, 1, 4, 4)
    assert dataset.facts["resample"] == "bilinear"
    with pytest.raises(DataError, match=r"b/2\.png is 9x5"):
        load(path, data, size=None)


def test_dark_ink_can_be_made_bright(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    plain, inverted = (load(path, data, invert=invert) for invert in (False, True))
    assert np.array_equal(inverted.images, 255 - plain.images)


def test_other_files_and_hidden_ones_are_passed_over(pictures, data):
    path = pictures("a/1.png", "b/1.png", "a/.2.png", ".hidden/1.png", "__MACOSX/a/1.png")
    (path / "a" / "notes.txt").write_text("a note")
    (path / "labels.csv").write_text("a,b")
    assert len(load(path, data).images) == 2


def test_the_second_time_no_image_is_read(pictures, data, monkeypatch):
    path = pictures("a/1.png", "b/1.png")
    first = load(path, data)
    monkeypatch.setattr(folder, "read_images", None)
    again = load(path, data)
    assert np.array_equal(first.images, again.images)
    assert again.content == first.content


def test_a_changed_image_is_read_again(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    before = load(path, data, size=None).pixels
    Image.fromarray(tiny("other")).save(path / "a" / "1.png")
    os.utime(path / "a" / "1.png", ns=(10**18, 10**18))
    assert load(path, data, size=None).pixels != before


def test_a_copy_elsewhere_has_the_same_content_and_pixels(pictures, data, tmp_path):
    path = pictures("a/1.png", "b/1.png")
    shutil.copytree(path, tmp_path / "elsewhere")
    one, other = load(path, data), load(tmp_path / "elsewhere", data)
    assert (one.content, one.pixels) == (other.content, other.pixels)


def test_a_folder_that_is_not_there_is_named(data, tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        load(tmp_path / "nowhere", data)


@pytest.mark.parametrize("content", [[], ["1.png", "2.png"]], ids=["empty", "no class folders"])
def test_a_folder_without_class_folders_is_refused(pictures, data, content):
    with pytest.raises(DataError, match=r"no images in folders of .*My Pictures"):
        load(pictures(*content), data)


def test_empty_class_folders_alone_are_refused(pictures, data):
    (pictures() / "a").mkdir()
    with pytest.raises(DataError, match=r"no images in folders of .*My Pictures"):
        load(pictures(), data)


@pytest.mark.parametrize("empty", ["b", "alphabet/b"])
def test_a_class_without_images_is_named(pictures, data, empty):
    path = pictures(empty.removesuffix("b") + "a/1.png")
    (path / empty).mkdir()
    with pytest.raises(DataError, match=rf"class {empty} of .* has no images"):
        load(path, data)


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
        load(path, data)
    assert all(str(path) + where in str(caught.value) for where in said)


def test_a_class_in_two_splits_is_named(pictures, data):
    path = pictures("train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    with pytest.raises(DataError, match=r"class cat of .* is in both novel and base"):
        load(path, data)


@pytest.mark.parametrize("name", ["Cat", "cat ", "\uff43at"])
def test_a_class_spelt_differently_in_two_splits_is_named(pictures, data, name):
    path = pictures(f"train/{name}/1.png", "train/dog/1.png", "test/cat/1.png")
    with pytest.raises(DataError, match=rf"class {name} of .* is in both novel and base"):
        load(path, data)


def test_a_broken_image_is_named(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    (path / "b" / "1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b/1\.png cannot be read"):
        load(path, data)


def test_an_unknown_split_is_refused(pictures, data):
    with pytest.raises(UsageError, match="unknown split 'test'"):
        load(pictures("a/1.png", "b/1.png"), data, split="test")


def test_images_of_other_kinds_are_read(pictures, data):
    path = pictures("a/1.png", "b/1.jfif", "b/2.tga", "b/3.JPE", "b/4.jp2")
    assert len(load(path, data).images) == 5


def test_files_of_other_kinds_are_counted(pictures, data, caplog):
    path = pictures("a/1.png", "b/1.png")
    for name in ("a/1.heic", "a/2.HEIC", "a/README", "b/Thumbs.db"):
        (path / name).write_bytes(b"")
    load(path, data)
    (record,) = caplog.records
    said = "4 files in class folders are not read as images: 2 .heic, 1 without ending, 1 .db"
    assert said in record.getMessage()


def test_a_class_of_other_files_says_which_they_are(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    (path / "b" / "1.png").rename(path / "b" / "1.heic")
    with pytest.raises(DataError, match=r"class b .*no images \(but files .*: 1 \.heic\)"):
        load(path, data)


@pytest.mark.parametrize("where", ["latest", "a/latest", "alphabet/letter/up"])
def test_a_link_to_a_folder_around_it_is_named(pictures, data, where):
    path = pictures("a/1.png", "b/1.png", *(["alphabet/letter/1.png"] if "letter" in where else []))
    (path / where).symlink_to(path)
    with pytest.raises(DataError, match=rf"{where} is a link to a folder that contains it"):
        load(path, data)


def test_links_to_folders_elsewhere_are_followed(pictures, data, tmp_path):
    path = pictures("a/1.png")
    shutil.copytree(path / "a", tmp_path / "elsewhere")
    (path / "b").symlink_to(tmp_path / "elsewhere")
    assert load(path, data).classes == ("a", "b")


@pytest.mark.parametrize("kind", ["pipe", "socket", "loop", "dead link"])
def test_what_is_named_as_an_image_but_is_no_file_is_named(pictures, data, kind, tmp_path):
    path = pictures("a/1.png", "b/1.png")
    file = path / "b" / "2.png"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        with contextlib.chdir(file.parent), socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
    else:
        file.symlink_to("2.png" if kind == "loop" else "nowhere.png")
    with pytest.raises(DataError, match=r"b/2\.png"):
        load(path, data)


@pytest.mark.parametrize("name", ["c\udcff/1.png", "b/c\udcff.png"])
def test_a_name_that_is_not_utf8_is_refused(pictures, data, name):
    path = pictures("a/1.png", "b/1.png")
    (path / name).parent.mkdir(exist_ok=True)
    shutil.copy(path / "a" / "1.png", path / name)
    with pytest.raises(DataError, match="is not UTF-8: rename it"):
        load(path, data)


def test_images_without_contrast_are_rescaled_if_asked(pictures, data):
    path = pictures("a/1.png", "b/1.png")
    for file in path.rglob("*.png"):
        Image.fromarray(tiny(str(file)) // 128).save(file)
    with pytest.raises(DataError, match="bits=1"):
        load(path, data)
    dataset = load(path, data, bits=1)
    assert dataset.images.max() == 255
    assert dataset.facts["bits"] == "1"


@pytest.mark.parametrize("second", ["cafe\u0301", "caf\u00e9", "Caf\u00e9\u200b"])
def test_a_class_in_two_spellings_that_look_the_same_is_refused(pictures, data, second):
    path = pictures("train/caf\u00e9/1.png", "train/dog/1.png", f"test/{second}/1.png")
    with pytest.raises(DataError, match="caf"):
        load(path, data)
