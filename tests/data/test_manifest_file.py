"""Manifest files: read exactly, written exactly, and what does not fit is named."""

from __future__ import annotations

import codecs
import copy
import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image

from metabench.data import manifest_file
from metabench.data.dataset import Dataset
from metabench.errors import DataError

NAMES = [f"{folder}/{n}.png" for folder in "abc" for n in range(4)]


def tiny(name: str, side: int = 5) -> np.ndarray:
    """An image that differs from name to name."""
    seed = list(name.encode())
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def content() -> dict:
    """Two episodes, 2-way 2-shot with one query a class."""
    return {
        "name": "My List",
        "root": "images",
        "size": None,
        "episodes": [
            {
                "support": [["b/0.png", 1], ["a/0.png", 0], ["a/1.png", 0], ["b/1.png", 1]],
                "query": [["a/2.png", 0], ["b/2.png", 1]],
            },
            {
                "support": [["c/0.png", 0], ["c/1.png", 0], ["a/0.png", 1], ["a/3.png", 1]],
                "query": [["./a/../a/2.png", 1], ["c/2.png", 0]],
            },
        ],
    }


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def put(tmp_path):
    """Write a manifest file, after a change to its content, with its images."""
    for name in NAMES:
        path = tmp_path / "lists" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny(name)).save(path)

    def put(change=lambda content: None):
        given = copy.deepcopy(content())
        change(given)
        file = tmp_path / "lists" / "list.json"
        file.write_text(json.dumps(given))
        return file

    return put


def test_episodes_are_as_listed(put, data):
    dataset, listing = manifest_file.load(put(), data)
    assert (listing.name, listing.way, listing.shot, listing.queries) == ("My List", 2, 2, 1)
    assert listing.support_y.tolist() == [[1, 0, 0, 1], [0, 0, 1, 1]]
    assert listing.query_y.tolist() == [[0, 1], [1, 0]]
    for part, indices in (("support", listing.support), ("query", listing.query)):
        assert indices.dtype == np.int64
        for e, episode in enumerate(content()["episodes"]):
            for i, (path, _) in zip(indices[e], episode[part], strict=True):
                name = path.replace("./a/..", "").lstrip("/")
                assert np.array_equal(dataset.images[i, 0], tiny(name))


def test_each_image_is_kept_once_and_is_of_no_split(put, data):
    dataset, _ = manifest_file.load(put(), data)
    assert dataset.name == "manifest-my-list"
    used = sorted(set(NAMES) - {"b/3.png", "c/3.png"})
    assert dataset.classes == tuple(used)
    assert len(dataset.images) == len(used)
    assert all(len(dataset.split(split)) == 0 for split in ("base", "validation", "novel"))


def test_images_are_resized(put, data):
    dataset, _ = manifest_file.load(put(lambda given: given.update(size=3)), data)
    assert dataset.shape == (1, 3, 3)


def test_the_second_time_no_image_is_read(put, data, monkeypatch):
    first, listing = manifest_file.load(put(), data)
    monkeypatch.setattr(manifest_file, "read_images", None)
    again, same = manifest_file.load(put(), data)
    assert np.array_equal(first.images, again.images)
    assert all(np.array_equal(a, b) for a, b in zip(listing, same, strict=True))


def test_two_lists_of_different_images_differ_in_content(put, data):
    def other(given):
        given["episodes"] = given["episodes"][:1]

    def shifted(given):
        other(given)
        given["episodes"][0]["query"] = [["a/3.png", 0], ["b/3.png", 1]]

    one, one_listing = manifest_file.load(put(other), data)
    two, two_listing = manifest_file.load(put(shifted), data)
    assert all(np.array_equal(a, b) for a, b in zip(one_listing, two_listing, strict=True))
    assert one.content != two.content


def episode(number, part, rows):
    def change(given):
        given["episodes"][number][part] = rows

    return change


def drop(field):
    return lambda given: given.pop(field)


SUPPORT = content()["episodes"][1]["support"]
QUERY = content()["episodes"][1]["query"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (episode(1, "support", SUPPORT[:3]), "episode 1: labels have 2, 1 support images"),
        (episode(1, "support", []), r"episode 1: support labels are \[\]"),
        (
            episode(1, "support", [[p, y * 2] for p, y in SUPPORT]),
            r"episode 1: support labels are \[0, 2\]",
        ),
        (
            episode(1, "support", [[p, y - 1] for p, y in SUPPORT]),
            r"episode 1: support labels are \[-1, 0\]",
        ),
        (episode(1, "query", QUERY[:1]), r"episode 1: query labels are \[1\]"),
        (episode(1, "query", [*QUERY, ["b/3.png", 2]]), r"episode 1: query labels are \[0, 1, 2\]"),
        (episode(1, "query", [*QUERY, ["b/3.png", 1]]), "episode 1: labels have 1, 2 queries"),
        (
            episode(1, "query", [["c/./1.png", 0], QUERY[0]]),
            r"episode 1: c/1\.png is both in the support set and a query",
        ),
        (
            episode(1, "query", [[QUERY[0][0], 0], [f"./{QUERY[0][0]}", 1]]),
            r"episode 1: .*\.png is listed 2 times",
        ),
        (
            episode(1, "support", [SUPPORT[0], SUPPORT[2]]),
            "episode 1: 2 classes with 1 support images and 1 queries each, but episode 0",
        ),
        (
            episode(1, "query", [*QUERY, ["b/3.png", 1], ["c/3.png", 0]]),
            "episode 1: 2 classes with 2 support images and 2 queries each, but episode 0",
        ),
        (
            episode(1, "query", [["gone.png", 1], ["c/2.png", 0]]),
            r"episode 1: there is no image .*gone\.png",
        ),
        (
            episode(1, "query", [["/tmp/a.png", 1], ["c/2.png", 0]]),
            r"episode 1: /tmp/a\.png is not relative",
        ),
        (
            episode(1, "query", [["C:\\a.png", 1], ["c/2.png", 0]]),
            r"episode 1: C:\\a\.png is not relative",
        ),
        (episode(1, "query", [["a/2.png", "1"]]), r"list\.json: .*int.*episodes\[1\]\.query\[0\]"),
        (drop("name"), r"list\.json: .*name"),
        (drop("size"), r"list\.json: .*size"),
        (drop("episodes"), r"list\.json: .*episodes"),
        (lambda given: given.update(size=0), r"list\.json: .*size"),
        (lambda given: given.update(episodes=[]), r"list\.json: .*episodes"),
        (lambda given: given.update(sise=28), r"list\.json: .*sise"),
    ],
)
def test_what_does_not_fit_is_named(put, data, change, said):
    with pytest.raises(DataError, match=said) as caught:
        manifest_file.load(put(change), data)
    assert str(put()) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_json_is_named(put, data):
    file = put()
    file.write_text("{broken")
    with pytest.raises(DataError, match=r"list\.json: JSON is malformed"):
        manifest_file.load(file, data)


def test_a_pipe_in_place_of_a_file_is_named(data, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DataError, match=r"cannot read .*pipe\.json: .*regular file"):
        manifest_file.load(tmp_path / "pipe.json", data)


def test_a_file_that_is_not_there_is_named(data, tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.json"):
        manifest_file.load(tmp_path / "none.json", data)


def test_an_image_of_another_size_is_named_with_its_episode(put, data):
    file = put()
    Image.fromarray(tiny("wide", 9)).save(file.parent / "images" / "c" / "2.png")
    with pytest.raises(DataError, match=r"episode 1: image .*c/2\.png is 9x9"):
        manifest_file.load(file, data)
    resized, _ = manifest_file.load(put(lambda given: given.update(size=4)), data)
    assert resized.shape == (1, 4, 4)


def test_a_broken_image_is_named_with_its_episode(put, data):
    file = put()
    (file.parent / "images" / "b" / "2.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"episode 0: image .*b/2\.png cannot be read"):
        manifest_file.load(file, data)


def dataset(channels: int) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (12, channels, 6, 7), dtype=np.uint8)
    return Dataset(
        name="made",
        images=images,
        labels=np.tile([0, 1, 2], 4),
        classes=("GREEK/Alpha", "greek alpha", "字"),
        splits={},
    )


EPISODES = {
    "support": np.array([[0, 3, 1, 4], [2, 5, 0, 9]]),
    "support_y": np.array([[1, 1, 0, 0], [0, 0, 1, 1]]),
    "query": np.array([[6, 7], [3, 11]]),
    "query_y": np.array([[1, 0], [1, 0]]),
}


@pytest.mark.parametrize("channels", [1, 3])
def test_written_episodes_read_back_pixel_for_pixel(data, tmp_path, channels):
    source = dataset(channels)
    manifest_file.write(tmp_path / "out" / "made.json", "made-2w2s", source, **EPISODES)
    read, listing = manifest_file.load(tmp_path / "out" / "made.json", data)
    assert (listing.name, listing.way, listing.shot, listing.queries) == ("made-2w2s", 2, 2, 1)
    assert np.array_equal(listing.support_y, EPISODES["support_y"])
    assert np.array_equal(listing.query_y, EPISODES["query_y"])
    assert np.array_equal(read.images[listing.support], source.images[EPISODES["support"]])
    assert np.array_equal(read.images[listing.query], source.images[EPISODES["query"]])


def test_dark_images_are_written_so_that_they_can_be_read(data, tmp_path):
    source = dataclasses.replace(dataset(1), images=dataset(1).images // 64, pixels="")
    manifest_file.write(tmp_path / "made.json", "made", source, **EPISODES)
    read, listing = manifest_file.load(tmp_path / "made.json", data)
    assert np.array_equal(read.images[listing.query], source.images[EPISODES["query"]])


def test_each_used_image_is_written_once_under_its_class(tmp_path):
    manifest_file.write(tmp_path / "made.json", "made", dataset(1), **EPISODES)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png"))
    used = np.unique(np.concatenate([EPISODES["support"].ravel(), EPISODES["query"].ravel()]))
    assert len(files) == len(used)
    assert files[0] == "made-images/0000-greek-alpha/0000.png"
    assert {name.split("/")[1] for name in files} == {
        "0000-greek-alpha",
        "0001-greek-alpha",
        "0002-unnamed",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made-images", "made.json"]


def test_a_written_file_can_be_moved_with_its_images(data, tmp_path):
    manifest_file.write(tmp_path / "one" / "made.json", "made", dataset(1), **EPISODES)
    (tmp_path / "one").rename(tmp_path / "two")
    assert len(manifest_file.load(tmp_path / "two" / "made.json", data)[1].support) == 2


def test_images_that_png_cannot_hold_are_refused(tmp_path):
    with pytest.raises(DataError, match="PNG cannot hold 2 channels"):
        manifest_file.write(tmp_path / "made.json", "made", dataset(2), **EPISODES)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot write manifest file .*made\.json"):
        manifest_file.write(tmp_path / "file" / "made.json", "made", dataset(1), **EPISODES)


def test_a_byte_order_mark_and_line_ends_of_windows_are_passed_over(put, data):
    file = put()
    expected, _ = manifest_file.load(file, data)
    text = json.dumps(json.loads(file.read_text()), indent=1).replace("\n", "\r\n")
    file.write_bytes(codecs.BOM_UTF8 + text.encode())
    found, _ = manifest_file.load(file, data)
    assert np.array_equal(found.images, expected.images)


def test_a_pipe_is_not_waited_for(tmp_path, data):
    os.mkfifo(tmp_path / "list.json")
    with pytest.raises(DataError, match=r"list\.json: this is not a regular file"):
        manifest_file.load(tmp_path / "list.json", data)


def test_an_image_whose_name_is_too_long_is_named(put, data):
    def change(content):
        content["episodes"][0]["query"][0][0] = "x" * 3000

    with pytest.raises(DataError, match=r"episode 0: cannot read .*xxx: File name too long"):
        manifest_file.load(put(change), data)


def test_a_file_says_how_its_images_are_to_be_read(put, data):
    file = put()
    for image in file.parent.rglob("*.png"):
        Image.fromarray(tiny(str(image)) // 128).save(image)
    with pytest.raises(DataError, match="bits=1"):
        manifest_file.load(file, data)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"bits": 1}))
    assert np.unique(manifest_file.load(file, data)[0].images).tolist() == [0, 255]
