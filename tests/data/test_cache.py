"""Images are kept once, opened in milliseconds, and made again when damaged."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from metabench.data.cache import cached, data_root, files_key, slug
from metabench.data.dataset import Dataset, pixels_digest
from metabench.errors import DataError


def small(seed: int = 0) -> Dataset:
    images = np.random.default_rng(seed).integers(0, 256, (6, 1, 5, 4), dtype=np.uint8)
    return Dataset(
        name="small",
        images=images,
        labels=np.array([0, 0, 1, 1, 2, 2]),
        classes=("a", "b", "c"),
        splits={"base": np.array([0]), "novel": np.array([1, 2])},
        pixels=pixels_digest(images),
        facts={"resample": "none"},
    )


def never() -> Dataset:
    raise AssertionError("made again although it is cached")


def entry(root: Path) -> Path:
    (folder,) = (root / "cache").iterdir()
    return folder


def same(one: Dataset, other: Dataset) -> bool:
    return (
        np.array_equal(one.images, other.images)
        and one.content == other.content
        and (one.name, one.pixels, dict(one.facts)) == (other.name, other.pixels, other.facts)
    )


def test_a_cached_dataset_is_the_one_that_was_made(tmp_path):
    first = cached(tmp_path, "small", "key", small)
    assert same(first, small())
    assert same(cached(tmp_path, "small", "key", never), small())


def test_cached_images_are_a_read_only_memory_map(tmp_path):
    cached(tmp_path, "small", "key", small)
    images = cached(tmp_path, "small", "key", never).images
    assert isinstance(images, np.memmap)
    assert images.dtype == np.uint8
    assert not images.flags.writeable


def test_another_key_is_another_entry(tmp_path):
    cached(tmp_path, "small", "one", lambda: small(1))
    assert same(cached(tmp_path, "small", "two", lambda: small(2)), small(2))
    assert same(cached(tmp_path, "small", "one", never), small(1))


def test_an_entry_is_named_by_dataset_and_key(tmp_path):
    cached(tmp_path, "My Data", "key", small)
    name, _, digits = entry(tmp_path).name.rpartition("-")
    assert name == "my-data"
    assert len(digits) == 12


def cut_images(folder: Path) -> None:
    file = folder / "images.npy"
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(folder: Path) -> None:
    file = folder / "images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def lengthen_images(folder: Path) -> None:
    with (folder / "images.npy").open("ab") as file:
        file.write(b"more")


def empty_images(folder: Path) -> None:
    (folder / "images.npy").write_bytes(b"")


def other_shape(folder: Path) -> None:
    np.save(folder / "images.npy", np.zeros((6, 1, 4, 5), dtype=np.uint8))


def other_type(folder: Path) -> None:
    np.save(folder / "images.npy", np.zeros((6, 1, 5, 4), dtype=np.int8))


def cut_facts(folder: Path) -> None:
    file = folder / "dataset.json"
    file.write_text(file.read_text()[:-5])


def other_json(folder: Path) -> None:
    (folder / "dataset.json").write_text("[]")


def no_facts(folder: Path) -> None:
    (folder / "dataset.json").unlink()


def missing_field(folder: Path) -> None:
    edit(folder, lambda facts: facts.pop("classes"))


def too_few_labels(folder: Path) -> None:
    edit(folder, lambda facts: facts["labels"].pop())


def foreign_key(folder: Path) -> None:
    edit(folder, lambda facts: facts.update(key="1:another"))


def no_files(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def edit(folder: Path, change) -> None:
    file = folder / "dataset.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "damage",
    [
        cut_images,
        flip_a_bit,
        lengthen_images,
        empty_images,
        other_shape,
        other_type,
        cut_facts,
        other_json,
        no_facts,
        missing_field,
        too_few_labels,
        foreign_key,
        no_files,
    ],
)
def test_a_damaged_entry_is_made_again_with_one_warning(tmp_path, caplog, damage):
    cached(tmp_path, "small", "key", small)
    damage(entry(tmp_path))
    with caplog.at_level(logging.WARNING):
        again = cached(tmp_path, "small", "key", small)
        assert same(cached(tmp_path, "small", "key", never), again)
    assert same(again, small())
    (record,) = caplog.records
    message = record.getMessage()
    assert str(entry(tmp_path)) in message
    assert "damaged" in message
    assert "\n" not in message


def test_a_failure_to_make_leaves_nothing_behind(tmp_path):
    def fail() -> Dataset:
        raise DataError("no images")

    with pytest.raises(DataError, match="no images"):
        cached(tmp_path, "small", "key", fail)
    assert not list(tmp_path.rglob("*.npy"))
    assert same(cached(tmp_path, "small", "key", small), small())


def test_a_data_root_that_cannot_be_written_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError) as caught:
        cached(tmp_path / "file", "small", "key", small)
    message = str(caught.value)
    assert "--data-root" in message
    assert "METABENCH_DATA" in message
    assert str(tmp_path / "file") in message
    assert "\n" not in message


def slow_small() -> Dataset:
    time.sleep(0.2)  # long enough for all processes to find the cache cold
    return small()


def make_in_process(root: Path, start, answers) -> None:
    start.wait()
    dataset = cached(root, "small", "key", slow_small)
    answers.put((os.getpid(), pixels_digest(dataset.images), dataset.content))


@pytest.mark.parametrize("damage", [None, cut_images], ids=["cold", "damaged"])
def test_processes_that_make_the_same_entry_at_once_all_succeed(tmp_path, damage):
    if damage:
        cached(tmp_path, "small", "key", small)
        damage(entry(tmp_path))
    context = multiprocessing.get_context("spawn")
    start, answers = context.Event(), context.Queue()
    processes = [
        context.Process(target=make_in_process, args=(tmp_path, start, answers)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    start.set()
    got = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len({pid for pid, *_ in got}) == 4
    assert {tuple(rest) for _, *rest in got} == {(small().pixels, small().content)}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [entry(tmp_path).name]


def test_the_data_root_is_as_given_else_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("METABENCH_DATA", str(tmp_path / "environment"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root(str(tmp_path / "given")) == tmp_path / "given"
    assert data_root(None) == tmp_path / "environment"


def test_the_data_root_may_begin_with_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root("~/data") == tmp_path / "data"


@pytest.mark.parametrize("value", [None, ""])
def test_the_data_root_is_else_the_platforms_cache_folder(monkeypatch, value):
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("METABENCH_DATA", value)
    assert data_root(None).name == "metabench"
    assert data_root(None).is_absolute()


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, ns=(10**18, 10**18))
    return file


def test_the_key_of_files_depends_on_content_not_place(tmp_path):
    def key(folder: str, **params: object) -> str:
        root = tmp_path / folder
        return files_key(sorted(root.rglob("*.txt")), root, **params)

    write(tmp_path, "one/a.txt", "same")
    write(tmp_path, "two/a.txt", "same")
    write(tmp_path, "longer/a.txt", "longer")
    write(tmp_path, "renamed/b.txt", "same")
    os.utime(write(tmp_path, "newer/a.txt", "same"), ns=(10**18, 10**18 + 1))
    assert key("one") == key("two")
    assert len({key(f) for f in ("one", "longer", "renamed", "newer")}) == 4
    assert key("one", size=28) != key("one", size=32)


def test_the_key_of_a_file_that_is_gone_names_it(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        files_key([tmp_path / "gone.png"], tmp_path)


def test_slugs_are_safe_in_file_names():
    assert slug("My Data (2)!") == "my-data-2"
    assert slug("../..") == "unnamed"
    assert slug("字") == "unnamed"
