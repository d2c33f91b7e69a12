"""Images are kept once, opened in milliseconds, and made again when damaged."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import resource
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from metabench.data.cache import cached, cached_files, data_root, slug
from metabench.data.dataset import Dataset, pixels_digest
from metabench.data.sealed import seal, unseal
from metabench.data.source_files import files_content
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
    file = folder / "dataset.json"
    file.write_bytes(seal({**unseal(file.read_bytes()), "key": "another"}))


def other_labels(folder: Path) -> None:
    edit(folder, lambda facts: facts["labels"].reverse())


def other_classes(folder: Path) -> None:
    edit(folder, lambda facts: facts["classes"].reverse())


def other_splits(folder: Path) -> None:
    edit(folder, lambda facts: facts["splits"].update(base=[1], novel=[0, 2]))


def other_facts(folder: Path) -> None:
    edit(folder, lambda facts: facts["facts"].update(resample="bilinear"))


def other_name(folder: Path) -> None:
    edit(folder, lambda facts: facts.update(name="other"))


def pipe(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


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
        other_labels,
        other_classes,
        other_splits,
        other_facts,
        other_name,
        partial(pipe, "images.npy"),
        partial(pipe, "dataset.json"),
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


def test_a_home_folder_that_does_not_exist_is_one_line():
    with pytest.raises(DataError, match="data root ~nosuch/x: no such home folder; set"):
        data_root("~nosuch/x")


def test_a_user_without_a_home_folder_is_asked_for_a_folder(monkeypatch):
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("METABENCH_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", unknown)  # as in a container run under any user's number
    with pytest.raises(DataError, match=r"there is no home folder .*: set --data-root"):
        data_root(None)


@pytest.mark.parametrize("name", ["file", "loop", "x" * 300])
def test_a_data_root_that_cannot_be_looked_into_is_one_line(tmp_path, name):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=r"^cannot read data root .* \(.*\): set --data-root or"):
        data_root(tmp_path / name)


def test_a_full_disk_is_seen_before_the_work(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DataError, match="cannot keep dataset small"):
            cached(tmp_path, "small", "key", never)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_becomes_full_during_the_work_is_named(tmp_path):
    def large() -> Dataset:
        return replace(small(), images=np.zeros((6, 1, 700, 700), np.uint8))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:  # NumPy's error for this has no description of the system's
        with pytest.raises(DataError, match=r"cannot keep dataset large in .* \(.*written.*\)"):
            cached(tmp_path, "large", "key", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_long_name_is_cut(tmp_path):
    assert same(cached(tmp_path, "x" * 300, "key", small), small())


class Source:
    """A folder of files, and a dataset made from their content."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.read = root, root / "source", 0
        self.folder.mkdir()
        self.write("1")

    def write(self, content: str) -> None:
        """Write a file of one size and time, as archives made reproducibly have."""
        file = self.folder / "a.txt"
        file.write_text(content)
        os.utime(file, ns=(10**18, 10**18))

    def open(self, place: str = "here", **params: object) -> Dataset:
        files = sorted(self.folder.glob("*.txt"))
        return cached_files(self.root, "s", files, self.folder, self.make, place, **params)

    def make(self) -> Dataset:
        self.read += 1
        return small(int((self.folder / "a.txt").read_text()))


@pytest.fixture
def source(tmp_path) -> Source:
    return Source(tmp_path)


@pytest.fixture
def later(monkeypatch) -> None:
    """Let the clock be so late that whatever was written just now is old."""
    now = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() + 10**10)


@pytest.fixture
def hashed(monkeypatch) -> list[Path]:
    """Note the folders whose files are read for their digest."""
    found: list[Path] = []

    def content(files, folder: Path) -> str:
        found.append(folder)
        return files_content(files, folder)

    monkeypatch.setattr("metabench.data.cache.files_content", content)
    return found


def test_other_content_of_the_same_name_size_and_time_is_seen(source, later):
    assert same(source.open(), small(1))
    source.write("2")
    assert same(source.open(), small(2))


def test_a_file_that_is_touched_finds_the_same_entry(source, later):
    source.open()
    for number in range(3):
        os.utime(source.folder / "a.txt", ns=(number, number))
        assert same(source.open(), small(1))
    assert source.read == 1
    assert [path.name for path in (source.root / "cache").iterdir()] == [entry(source.root).name]


def test_files_that_nobody_touched_are_not_read_again(source, later, hashed):
    for _ in range(3):
        source.open()
    assert len(hashed) == 1
    os.utime(source.folder / "a.txt")
    for _ in range(3):
        source.open()
    assert len(hashed) == 2


def test_files_written_just_now_are_read_again(source, hashed):
    source.open()
    source.open()
    assert (len(hashed), source.read) == (2, 1)


@pytest.mark.parametrize("spoil", [lambda text: text[:-9], lambda text: text.replace(b"0", b"1")])
def test_damage_to_the_state_of_files_makes_them_be_read_again(source, later, hashed, spoil):
    source.open()
    file = entry(source.root) / "source.json"
    file.write_bytes(spoil(file.read_bytes()))
    assert same(source.open(), small(1))
    assert (len(hashed), source.read) == (2, 1)


def test_a_damaged_entry_is_made_from_files_that_nobody_touched(source, later):
    source.open()
    cut_images(entry(source.root))
    for _ in range(2):
        assert same(source.open(), small(1))
    assert source.read == 2


def test_an_older_entry_of_the_same_place_and_parameters_is_removed(source):
    older = source.open()
    source.open(size=28)
    source.open("elsewhere")
    for content in ("2", "3"):
        source.write(content)
        assert same(source.open(), small(int(content)))
    assert len(list((source.root / "cache").iterdir())) == 3
    assert same(older, small(1))  # whoever has it open keeps it


def test_a_renamed_file_is_other_content(source, later):
    (source.folder / "b.txt").write_text("1")
    source.open()
    (source.folder / "b.txt").rename(source.folder / "c.txt")
    source.open()
    assert source.read == 2


def test_files_that_change_while_they_are_read_are_refused(source):
    make = source.make

    def changing() -> Dataset:
        source.write("2")
        return make()

    source.make = changing
    with pytest.raises(DataError, match="changed while they were read"):
        source.open()
    assert not list(source.root.rglob("*.npy"))


def test_slugs_are_safe_in_file_names():
    assert slug("My Data (2)!") == "my-data-2"
    assert slug("../..") == "unnamed"
    assert slug("字") == "unnamed"
