"""MNIST: files in the true format, downloads, and damage to each."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving import cut_off, served

from metabench.data import download, mnist
from metabench.errors import DataError

COUNTS = {"train": 60, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    """An array in the IDX format: magic number, sizes, bytes."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    found = {}
    for part, count in COUNTS.items():
        found[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 28, 28)))
        found[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count) % 10)
    return found


def packed() -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files().items()}


def write(root: Path, content: dict[str, bytes]) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> None:
    """Nobody listens where torchvision would look, and it expects the files of this test."""
    known = download.torchvision_datasets().MNIST
    monkeypatch.setattr(known, "mirrors", ["http://127.0.0.1:9/"])
    sums = {name: hashlib.md5(content).hexdigest() for name, content in packed().items()}
    monkeypatch.setattr(known, "resources", list(sums.items()))


@pytest.mark.parametrize("content", [files, packed])
def test_training_and_test_digits_are_one_dataset(tmp_path, content) -> None:
    write(tmp_path, content())
    dataset = mnist.load(tmp_path)
    assert dataset.images.shape == (80, 1, 28, 28)
    raw = [files()[f"{part}-images-idx3-ubyte"][16:] for part in COUNTS]
    assert dataset.images.tobytes() == b"".join(raw)
    assert dataset.labels.tolist() == [*(np.arange(60) % 10), *(np.arange(20) % 10)]
    assert dataset.split("base").tolist() == [0, 1, 2, 3, 4]
    assert dataset.split("novel").tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("name", list(files()))
@pytest.mark.parametrize(
    "spoil",
    [lambda content: content[:-5], lambda content: b"", lambda content: b"\0\0" + content],
    ids=["cut off", "empty", "shifted"],
)
def test_a_damaged_file_is_one_line(tmp_path, name, spoil) -> None:
    content = files()
    write(tmp_path, {**content, name: spoil(content[name])})
    with pytest.raises(DataError, match=r"MNIST in .* is damaged \(.*\): replace") as caught:
        mnist.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_images_and_labels_of_different_number_are_damage(tmp_path) -> None:
    write(tmp_path, {**files(), "train-labels-idx1-ubyte": idx(np.arange(59) % 10)})
    with pytest.raises(DataError, match=r"images \[60, 28, 28\], labels \[59\]"):
        mnist.load(tmp_path)


@pytest.mark.parametrize("name", list(files()))
def test_a_damaged_compressed_file_is_one_line(tmp_path, name) -> None:
    content = packed()
    write(tmp_path, {**content, f"{name}.gz": content[f"{name}.gz"][:-9]})
    with pytest.raises(DataError, match=rf"MNIST in .* is damaged \(.*\): replace {name}\.gz$"):
        mnist.load(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_pipe_in_place_of_a_file_is_one_line(tmp_path, suffix) -> None:
    folder = write(tmp_path, {f"{k}{suffix}": v for k, v in files().items() if "train" in k})
    os.mkfifo(folder / f"t10k-images-idx3-ubyte{suffix}")
    (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot read .*t10k-images.*: .*regular file"):
        mnist.load(tmp_path)


def test_only_what_is_read_counts(tmp_path) -> None:
    """Arrays that old versions of torchvision saved are not taken in place of the files."""
    write(tmp_path, files())
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(b"something else")
    assert mnist.load(tmp_path).images.shape == (80, 1, 28, 28)


@pytest.mark.parametrize(("shape", "said"), [((30, 30), "30, 30"), ((20, 28), "20, 28")])
def test_images_of_another_size_are_damage(tmp_path, shape, said) -> None:
    images = np.zeros((20, *shape), dtype=np.uint8)
    write(tmp_path, {**files(), "t10k-images-idx3-ubyte": idx(images)})
    with pytest.raises(DataError, match=rf"images \[20, {said}\]"):
        mnist.load(tmp_path)


def test_labels_above_nine_are_damage(tmp_path) -> None:
    write(tmp_path, {**files(), "t10k-labels-idx1-ubyte": idx(np.arange(20))})
    with pytest.raises(DataError, match=r"damaged \(labels from 0 to 19\)"):
        mnist.load(tmp_path)


def test_what_cannot_be_downloaded_is_one_line_with_advice(tmp_path) -> None:
    with pytest.raises(DataError, match=r"cannot get MNIST \(.*\): put train-images") as caught:
        mnist.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "MNIST" / "raw") in str(caught.value)
    assert not (tmp_path / "MNIST").exists()


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Path]:
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in packed().items():
        (folder / name).write_bytes(content)
    with served(folder) as address:
        monkeypatch.setattr(download.torchvision_datasets().MNIST, "mirrors", [f"{address}/"])
        yield folder


def test_what_is_missing_is_downloaded(tmp_path, server, capsys) -> None:
    root = tmp_path / "root"
    assert mnist.load(root).images.shape == (80, 1, 28, 28)
    assert capsys.readouterr().out == ""


def test_a_spoilt_download_is_one_line_and_is_tried_again(tmp_path, server) -> None:
    file = server / "t10k-images-idx3-ubyte.gz"
    good = file.read_bytes()
    file.write_bytes(good[:-20])
    root = tmp_path / "root"
    with pytest.raises(DataError, match="cannot get MNIST"):
        mnist.load(root)
    file.write_bytes(good)
    assert mnist.load(root).images.shape == (80, 1, 28, 28)


def test_an_answer_that_breaks_off_is_one_line(tmp_path, monkeypatch) -> None:
    with cut_off() as address:
        monkeypatch.setattr(download.torchvision_datasets().MNIST, "mirrors", [f"{address}/"])
        with pytest.raises(DataError, match=r"cannot get MNIST \(.+[^:]\): put train-images"):
            mnist.load(tmp_path)
