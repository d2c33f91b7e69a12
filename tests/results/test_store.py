"""The results folder: one file a cell, whole or not at all, whoever else writes there."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from results_factory import make_result, make_suite, store_results

from metabench.errors import DataError
from metabench.files import MOST, check_room
from metabench.results.cell_locks import CellLocks
from metabench.results.result_file import encode
from metabench.results.store import Damaged, Store, cell_path

PATH = Path("digits-5w1s/protonet/default-s0-smoke-cpu.json")


def path_with(**chosen) -> Path:
    return cell_path("digits-5w1s", "protonet", chosen, 0, "smoke", "cpu")


def test_the_path_says_what_the_cell_is() -> None:
    assert path_with() == PATH
    found = cell_path("glyphs-5w1s", "maml", {"lr": 0.1, "bn": "none"}, 3, "tasks=20", "cuda")
    assert found == Path("glyphs-5w1s/maml/bn=none,lr=0.1-s3-tasks=20-cuda.json")


def test_the_order_of_parameters_does_not_matter() -> None:
    assert path_with(lr=0.1, steps=3) == path_with(steps=3, lr=0.1)
    assert path_with(first_order=True).name.startswith("first_order=true-")
    assert path_with(backbone="conv4[pool=false]").name.startswith("backbone=conv4[pool=false]-")


def test_long_or_strange_parameters_are_shortened_to_different_names() -> None:
    paths = [
        path_with(note="x" * 100),
        path_with(note="x" * 99 + "y"),
        path_with(note="a/b"),
        path_with(note="a b"),
        path_with(note="a_b"),
        path_with(note="../../etc"),
    ]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert path.parent == PATH.parent
        assert len(path.name) < 120


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    store, result = Store(tmp_path / "new" / "results"), make_result()
    file = store.write(PATH, result)
    assert file == tmp_path / "new" / "results" / PATH
    assert store.load(PATH) == result
    assert store.read() == ([(PATH, result)], [])
    assert [p.name for p in file.parent.iterdir()] == [PATH.name]  # nothing temporary is left
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_cell_that_never_ran_has_no_result(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").load(PATH) is None
    assert Store(tmp_path / "none").read() == ([], [])
    (tmp_path / "file").write_text("")
    assert Store(tmp_path / "file").load(PATH) is None


def test_a_new_result_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(PATH, make_result(accuracy=0.5))
    store.write(PATH, make_result(accuracy=0.9))
    assert store.load(PATH) == make_result(accuracy=0.9)


def test_paths_come_in_a_fixed_order_and_only_results_count(tmp_path: Path) -> None:
    results = [make_result("b"), make_result("a"), make_result("b", seed=1)]
    stored = store_results(tmp_path, results)
    for other in (
        "logs/digits-5w1s/a/default-s0-smoke-cpu.log",
        f"digits-5w1s/a/.{PATH.name}.1234",
        f"digits-5w1s/a/{PATH.name}.damaged",
        "leaderboard.json",
    ):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_text("{}")
    assert Store(tmp_path).paths() == sorted(stored)


def test_results_of_two_machines_are_merged_by_copying_files(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    store_results(here, [make_result("a"), make_result("b")])
    store_results(there, [make_result("b"), make_result("c", suite=make_suite("glyphs-5w1s"))])
    shutil.copytree(there, here, dirs_exist_ok=True)
    results, problems = Store(here).read()
    assert [r.job.algorithm for _, r in results] == ["a", "b", "c"]
    assert problems == []


@pytest.mark.parametrize(
    "content", [b"", b"{", encode(make_result())[:200], b'{"schema": 1}', b"\xff\xfe", b"[]"]
)
def test_a_damaged_file_is_named_and_costs_no_other(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.write(PATH, make_result())
    other = PATH.with_name("lr=1-s0-smoke-cpu.json")
    (tmp_path / other).write_bytes(content)
    with pytest.raises(Damaged) as caught:
        store.load(other)
    assert str(caught.value).startswith(f"{tmp_path / other}: not a readable result (")
    results, problems = store.read()
    assert [path for path, _ in results] == [PATH]
    assert problems == [f"{caught.value}; it is left out; a run of its cell sets it aside"]


def test_a_result_in_the_place_of_another_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(PATH, make_result("chance"))
    own = Path("digits-5w1s/chance/default-s0-smoke-cpu.json")
    with pytest.raises(Damaged, match=f"this is the result of another cell, {own}"):
        store.load(PATH)
    assert store.read()[0] == []


def test_training_on_another_suite_is_part_of_the_path(tmp_path: Path) -> None:
    result = make_result(chosen={"lr": 0.1}, suite=make_suite(train_on="glyphs-5w1s"))
    path = Path("digits-5w1s/protonet/lr=0.1,train_on=glyphs-5w1s-s0-smoke-cpu.json")
    Store(tmp_path).write(path, result)
    assert Store(tmp_path).load(path) == result


def test_a_result_of_a_newer_version_is_not_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = store.write(PATH, make_result())
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(
        DataError, match=r"made by a newer version of metabench .* upgrade"
    ) as caught:
        store.load(PATH)
    assert not isinstance(caught.value, Damaged)
    assert store.read() == ([], [f"{caught.value}; it is left out"])


@pytest.mark.parametrize("unreadable", ["fifo", "folder", "too large"])
def test_a_file_that_cannot_be_read_is_not_damaged(
    unreadable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    if unreadable == "fifo":
        os.mkfifo(file)
    elif unreadable == "folder":
        file.mkdir()
    else:
        with file.open("wb") as stream:
            stream.truncate(MOST + 1)
    with pytest.raises(DataError, match=f"cannot read {file}: ") as caught:
        Store(tmp_path).load(PATH)
    assert not isinstance(caught.value, Damaged)


def test_a_result_that_was_changed_is_shown_and_said_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = store.write(PATH, make_result(correct=[3] * 20))
    file.write_text(file.read_text().replace('"correct":[3', '"correct":[4'))
    ((path, result),), problems = store.read()
    assert (path, result.altered) == (PATH, True)
    assert problems == [f"{file}: changed since metabench wrote it"]


def test_a_folder_that_cannot_be_read_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.write(PATH, make_result())
    scandir = os.scandir

    def refuse(folder: Path) -> object:  # the tests may run as root, who may read every folder
        if Path(folder).name == "protonet":
            raise PermissionError(13, "Permission denied", str(tmp_path / PATH.parent))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"cannot read {tmp_path / PATH.parent}: Permission denied"):
        store.read()


@pytest.mark.parametrize("place", ["", "digits-5w1s", "digits-5w1s/protonet"])
def test_a_link_to_itself_is_left_out(tmp_path: Path, caplog, place: str) -> None:
    store = Store(tmp_path)
    store.write(PATH, make_result())
    link = tmp_path / place / "self.json"
    link.symlink_to(link)
    results, problems = store.read()
    assert [path for path, _ in results] == [PATH]
    (said,) = [*problems, *(record.getMessage() for record in caplog.records)]
    assert said == f"cannot read {link}: Too many levels of symbolic links; it is left out"


def test_a_damaged_file_is_set_aside_and_said_so(tmp_path: Path, caplog) -> None:
    store = Store(tmp_path)
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    file.write_text("half a resu")
    with caplog.at_level(logging.WARNING, logger="metabench"):
        aside = store.set_aside(PATH)
    assert aside.read_text() == "half a resu"
    assert aside.name == f"{PATH.name}.damaged"
    assert store.load(PATH) is None
    assert caplog.messages == [
        f"{file} is damaged: kept as {aside.name}, its cell runs again",
    ]


def test_a_folder_that_cannot_be_written_to_is_known_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for store in (Store(tmp_path / "file"), Store(tmp_path / "file" / "results")):
        with pytest.raises(DataError, match=f"cannot write {store.root}: .*--results"):
            store.check_writable()
        with pytest.raises(DataError, match=f"cannot write {store.root / PATH}: .*--results"):
            store.write(PATH, make_result())
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("name", ["code", PATH.parts[0]])
def test_a_file_in_the_way_of_a_folder_is_known_before(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("in the way")
    with pytest.raises(DataError, match=f"cannot write {tmp_path / name}.*: Not a directory; cho"):
        Store(tmp_path).check_writable([PATH])
    assert (tmp_path / name).read_text() == "in the way"


@pytest.mark.parametrize("folder", [".", "logs"])
def test_a_full_disk_is_known_before(tmp_path: Path, folder: str, monkeypatch) -> None:
    """The limit on the size of files stands in for the end of the disk."""
    (tmp_path / "logs").mkdir()
    full = str(tmp_path / folder)

    def check(path: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if str(path) == full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            check_room(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr("metabench.results.store.check_room", check)
    with pytest.raises(DataError, match=f"cannot write {full}: .*free some space"):
        Store(tmp_path).check_writable()


def test_checking_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    Store(tmp_path / "a" / "b").check_writable()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_readers_see_one_result_or_the_other_while_it_is_written(tmp_path: Path) -> None:
    store, results = Store(tmp_path), [make_result(accuracy=0.1), make_result(accuracy=0.9)]
    store.write(PATH, results[0])
    stop = threading.Event()

    def write() -> None:
        for i in range(60):
            store.write(PATH, results[i % 2])
        stop.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    reads = 0
    while not stop.is_set() or reads == 0:
        assert store.load(PATH) in results
        reads += 1
    for writer in writers:
        writer.join()
    assert store.paths() == [PATH]


def leftover(folder: Path) -> Path:
    """A folder named like one that a process has left that is gone."""
    code = "from metabench.leftovers import temporary_name as n; print(n('x'))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left = folder / made.stdout.strip()
    left.mkdir(parents=True)
    (left / "precious").touch()
    return left


def test_definitions_are_kept_as_text_and_the_older_form_is_read(tmp_path: Path) -> None:
    store, definitions = Store(tmp_path), {"b:\nB": "22", "a:A": "11"}
    store.write_code("new", definitions)
    assert (tmp_path / "code" / "new.txt").read_text() == "11  a:A\n22  b: B\n"
    (tmp_path / "code" / "old.json").write_text(json.dumps(definitions))
    (tmp_path / "code" / "damaged.txt").write_text("11  a:A\n22")
    loaded = [store.load_code(name) for name in ("new", "old", "damaged", "none")]
    assert loaded == [{"a:A": "11", "b: B": "22"}, definitions, None, None]


@pytest.mark.parametrize(
    "link",
    [
        "digits-5w1s",
        "digits-5w1s/protonet",
        "logs",
        "logs/digits-5w1s",
        "logs/digits-5w1s/protonet",
        "checkpoints",
        "checkpoints/digits-5w1s",
        "checkpoints/digits-5w1s/protonet",
        "code",
    ],
)
def test_a_link_out_of_the_folder_is_refused_before_and_nothing_is_removed_there(
    tmp_path: Path, link: str
) -> None:
    real, outside = tmp_path / "real", tmp_path / "outside"
    store = Store(tmp_path / "results")
    store.root.symlink_to(real)  # the folder itself may be a link
    (real / link).parent.mkdir(parents=True)
    (real / link).symlink_to(outside)
    left = [leftover(outside / deeper) for deeper in (".", "x", "x/y")]
    (outside / "empty").mkdir()
    said = f"cannot write through the link {store.root / link}: .*--results"
    with pytest.raises(DataError, match=said):
        store.check_writable([PATH])
    with suppress(DataError):
        store.check_writable()
    store.remove_empty("checkpoints")
    assert all((folder / "precious").exists() for folder in left)
    assert (outside / "empty").is_dir()


def test_nothing_is_written_or_renamed_through_a_link(tmp_path: Path) -> None:
    outside, store = tmp_path / "outside", Store(tmp_path / "results")
    (outside / PATH.parts[1]).mkdir(parents=True)
    there = outside / Path(*PATH.parts[1:])
    there.write_text("precious")
    store.root.mkdir()
    (store.root / PATH.parts[0]).symlink_to(outside)
    (store.root / "code").symlink_to(outside)
    (store.root / "logs").symlink_to(outside)
    for attempt in (
        lambda: store.write(PATH, make_result()),
        lambda: store.set_aside(PATH),
        lambda: store.write_code("0" * 64, {}),
        lambda: CellLocks(store.root),
    ):
        with pytest.raises(DataError, match="through the link"):
            attempt()
    assert [path for path in outside.rglob("*") if path.is_file()] == [there]
    assert there.read_text() == "precious"
