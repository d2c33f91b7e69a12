"""Omniglot: archives, folders, downloads, and damage to each.

Most tests run on archives in the true form with tiny drawings.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from omniglot_data import ROOT, needs_omniglot
from PIL import Image
from serving import cut_off, served

from metabench.data import download, omniglot, splits
from metabench.data.dataset import Dataset
from metabench.errors import DataError

SETS = {
    "images_background": {"Alpha": 3, "Beta": 2},
    "images_evaluation": {"Gamma": 4},
}


def drawing(number: int) -> bytes:
    """A picture of its own: black ink on white paper, a bit a pixel, as the real ones are."""
    paper = np.ones((4, 4), dtype=bool)
    paper.reshape(-1)[[number % 16, number // 16]] = False
    stream = io.BytesIO()
    Image.fromarray(paper).save(stream, "png")
    return stream.getvalue()


def members() -> dict[str, dict[str, bytes]]:
    """For each archive the content of its files."""
    found: dict[str, dict[str, bytes]] = {}
    number = 0
    for name, alphabets in SETS.items():
        found[name] = {}
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                for i in range(1, omniglot.DRAWINGS + 1):
                    path = f"{name}/{alphabet}/character{character:02d}/{number:04d}_{i:02d}.png"
                    found[name][path] = drawing(number)
                    number += 1
    return found


def write_archives(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, files in members().items():
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)


def write_folders(folder: Path) -> None:
    for files in members().values():
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path) -> None:
    """Nine characters in place of 1,623, and a split of them."""
    counts = {name: sum(alphabets.values()) for name, alphabets in SETS.items()}
    monkeypatch.setattr(omniglot, "CHARACTERS", counts)
    monkeypatch.setattr(omniglot, "SIZE", 4)
    folder = tmp_path / "splits"
    folder.mkdir()
    for name in ("vinyals", "1200", "background"):
        content = {
            "name": f"omniglot-{name}",
            "source": "test",
            "base": ["Alpha"],
            "validation": ["Beta"],
            "novel": ["Gamma"],
        }
        (folder / f"omniglot-{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(splits, "FOLDER", folder)


def image(dataset: Dataset, name: str, number: int) -> np.ndarray:
    c = dataset.classes.index(name)
    return dataset.images[dataset.images_of[c][number]][0]


@pytest.mark.parametrize("write", [write_archives, write_folders])
def test_ink_is_bright_and_rotations_are_classes_in_one_split(tmp_path, write) -> None:
    write(tmp_path / "omniglot")
    dataset = omniglot.load(tmp_path)
    assert dataset.name == "omniglot"
    assert dataset.images.shape == (9 * 4 * 20, 1, 4, 4)
    upright = image(dataset, "Beta/character01/rot000", 1)
    assert np.array_equal(np.argwhere(upright == 255), [[0, 3], [3, 1]])  # 61 = 3 * 16 + 13
    for turns, angle in enumerate(omniglot.ROTATIONS):
        turned = image(dataset, f"Beta/character01/rot{angle:03d}", 1)
        assert np.array_equal(turned, np.rot90(upright, turns))
    of = {split: {dataset.classes[c] for c in dataset.split(split)} for split in splits.SPLITS}
    assert {name: len(classes) for name, classes in of.items()} == {
        "base": 12,
        "validation": 8,
        "novel": 16,
    }
    characters = [{name.rpartition("/")[0] for name in classes} for classes in of.values()]
    assert sum(map(len, characters)) == len(set.union(*characters))


def test_archives_and_folders_hold_the_same_data(tmp_path) -> None:
    write_archives(tmp_path / "a" / "omniglot")
    write_folders(tmp_path / "b" / "omniglot")
    one, other = omniglot.load(tmp_path / "a"), omniglot.load(tmp_path / "b")
    assert (one.pixels, one.content) == (other.pixels, other.content)


def test_a_second_look_is_at_the_cache(tmp_path, monkeypatch) -> None:
    write_archives(tmp_path / "omniglot")
    first = omniglot.load(tmp_path)
    monkeypatch.setattr(omniglot, "read", None)
    assert omniglot.load(tmp_path).pixels == first.pixels


def test_a_data_root_that_may_only_be_read_is_left_as_it_is(tmp_path, monkeypatch) -> None:
    import platformdirs

    own = tmp_path / "own"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(own))
    root = tmp_path / "shared"
    write_archives(root / "omniglot")
    root.chmod(0o555)
    try:
        omniglot.load(root)
        assert [path.name for path in root.iterdir()] == ["omniglot"]
    finally:
        root.chmod(0o755)
    assert (own / "cache").is_dir()


def damage(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def drop(folder: Path, name: str, suffix: str) -> None:
    """Write an archive again without the files that end so."""
    files = members()[name]
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for path, content in files.items():
            if not path.endswith(suffix):
                archive.writestr(path, content)


def test_a_cut_off_archive_is_one_line(tmp_path) -> None:
    folder = tmp_path / "omniglot"
    write_archives(folder)
    file = folder / "images_background.zip"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"images_background\.zip is damaged \(.*\): remove it"):
        omniglot.load(tmp_path)


def test_a_flipped_byte_in_an_archive_is_one_line(tmp_path) -> None:
    folder = tmp_path / "omniglot"
    write_archives(folder)
    file = folder / "images_evaluation.zip"
    content = bytearray(file.read_bytes())
    content[70] ^= 255
    file.write_bytes(bytes(content))
    with pytest.raises(DataError) as caught:
        omniglot.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("offset", "value"), [(10, 99), (8, 1), (6, 99)])
def test_an_archive_that_cannot_be_unpacked_is_one_line(tmp_path, offset, value) -> None:
    """A way of packing that there is not, a flag that says "encrypted", a later version."""
    folder = tmp_path / "omniglot"
    write_archives(folder)
    file = folder / "images_background.zip"
    content = bytearray(file.read_bytes())
    first = content.index(b"PK\1\2")  # of the directory at the end
    content[first + offset] = value
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"images_background\.zip is damaged \(.*\): remove it"):
        omniglot.load(tmp_path)


def test_a_missing_drawing_is_named(tmp_path) -> None:
    write_archives(tmp_path / "omniglot")
    drop(tmp_path / "omniglot", "images_evaluation", "0101_02.png")
    with pytest.raises(DataError, match="Gamma/character01 of Omniglot has 19 drawings, expected"):
        omniglot.load(tmp_path)


def test_missing_characters_are_counted(tmp_path) -> None:
    write_folders(tmp_path / "omniglot")
    gone = tmp_path / "omniglot" / "images_background" / "Beta" / "character02"
    for file in gone.iterdir():
        file.unlink()
    with pytest.raises(DataError, match="images_background has 4 characters, expected 5: put"):
        omniglot.load(tmp_path)


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Path]:
    """Serve a folder in place of the site that torchvision downloads from; yield the folder."""
    folder = tmp_path / "served"
    write_archives(folder)
    known = download.torchvision_datasets().Omniglot
    sums = {name: hashlib.md5((folder / f"{name}.zip").read_bytes()).hexdigest() for name in SETS}
    monkeypatch.setattr(known, "zips_md5", sums)
    with served(folder) as address:
        monkeypatch.setattr(known, "download_url_prefix", address)
        yield folder


def test_what_is_not_there_is_downloaded_once(tmp_path, server) -> None:
    first = omniglot.load(tmp_path)
    assert sorted(path.name for path in (tmp_path / "omniglot").iterdir()) == [
        "images_background.zip",
        "images_evaluation.zip",
    ]
    for file in server.iterdir():
        file.unlink()
    assert omniglot.load(tmp_path).pixels == first.pixels


@pytest.mark.parametrize(
    "spoil", [lambda content: content[:-100], lambda content: b"<html>", lambda content: b""]
)
def test_a_spoilt_download_leaves_nothing_and_says_what_to_do(tmp_path, server, spoil) -> None:
    file = server / "images_evaluation.zip"
    good = file.read_bytes()
    file.write_bytes(spoil(good))
    with pytest.raises(DataError, match=r"cannot download images_evaluation\.zip \(.*\): put "):
        omniglot.load(tmp_path)
    assert [path.name for path in (tmp_path / "omniglot").iterdir()] == ["images_background.zip"]
    file.write_bytes(good)
    assert omniglot.load(tmp_path).images.shape[0] == 720


def test_an_answer_that_breaks_off_is_one_line(tmp_path, monkeypatch) -> None:
    with cut_off() as address:
        monkeypatch.setattr(
            download.torchvision_datasets().Omniglot, "download_url_prefix", address
        )
        with pytest.raises(DataError, match=r"cannot download images_background\.zip \(.+\): put"):
            omniglot.load(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_pipe_in_place_of_an_archive_is_one_line(tmp_path) -> None:
    write_archives(tmp_path / "omniglot")
    archive = tmp_path / "omniglot" / "images_background.zip"
    archive.unlink()
    os.mkfifo(archive)
    with pytest.raises(DataError, match=r"cannot read .*images_background\.zip: .*regular file"):
        omniglot.load(tmp_path)


@pytest.mark.parametrize("source", ["images_background.zip", "images_background"])
def test_a_source_that_cannot_be_looked_at_is_one_line(tmp_path, source) -> None:
    write_archives(tmp_path / "omniglot")
    (tmp_path / "omniglot" / "images_background.zip").unlink()
    (tmp_path / "omniglot" / source).symlink_to(source)
    with pytest.raises(DataError, match=rf"cannot read .*{source}: .*symbolic links"):
        omniglot.load(tmp_path)


def test_a_drawing_that_unpacks_to_very_much_is_damage(tmp_path) -> None:
    folder = tmp_path / "omniglot"
    write_archives(folder)
    with zipfile.ZipFile(folder / "images_background.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images_background/Alpha/character01/9999_01.png", bytes(2 << 20))
    with pytest.raises(DataError, match=r"damaged \(.*9999_01\.png is larger than 1 MiB\)"):
        omniglot.load(tmp_path)


def test_archives_with_other_content_are_read_again(tmp_path) -> None:
    folder = tmp_path / "omniglot"
    write_archives(folder)
    before = omniglot.load(tmp_path)
    archive = folder / "images_evaluation.zip"
    files = members()["images_evaluation"]
    first, second, *_ = sorted(files)
    files[first], files[second] = files[second], files[first]
    old = archive.stat()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in files.items():
            file.writestr(path, content)
    assert archive.stat().st_size == old.st_size
    os.utime(archive, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert omniglot.load(tmp_path).pixels != before.pixels
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_server_that_has_no_such_file_is_one_line(tmp_path, server) -> None:
    (server / "images_background.zip").unlink()
    with pytest.raises(DataError, match="404") as caught:
        omniglot.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "omniglot") in str(caught.value)


@needs_omniglot
class TestTheDataItself:
    """1,623 characters; resized images have one digest whatever reads them."""

    @pytest.fixture(autouse=True)
    def whole(self, monkeypatch, small) -> None:
        counts = {"images_background": 964, "images_evaluation": 659}
        monkeypatch.setattr(omniglot, "CHARACTERS", counts)
        monkeypatch.setattr(omniglot, "SIZE", 28)
        monkeypatch.setattr(splits, "FOLDER", Path(splits.__file__).parent / "splits")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("load", "sizes"),
        [
            (omniglot.load, (4112, 688, 1692)),
            (omniglot.load_1200, (4800, 0, 1692)),
            (omniglot.load_background, (3856, 0, 2636)),
        ],
    )
    def test_splits_have_the_published_sizes(self, load, sizes) -> None:
        dataset = load(ROOT)
        assert tuple(len(dataset.split(name)) for name in splits.SPLITS) == sizes
        assert (dataset.pixels[:12], dataset.shape) == ("da4a203f02d4", (1, 28, 28))
        novel = {dataset.classes[c].partition("/")[0] for c in dataset.split("novel")}
        base = {dataset.classes[c].partition("/")[0] for c in dataset.split("base")}
        both = {"Gurmukhi"} if load is not omniglot.load_background else set()
        assert novel & base == both
        ink = float((dataset.images[::97] > 127).mean())
        assert 0.03 < ink < 0.2
