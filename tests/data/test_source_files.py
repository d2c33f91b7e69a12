"""The content of files as a digest, and the state that proves that it is still the same."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from metabench.data.source_files import FilesState, files_content, files_state
from metabench.errors import DataError

SECOND = 10**9


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, ns=(10**18, 10**18))
    return file


def test_content_depends_on_names_and_bytes_not_on_place_and_time(tmp_path: Path) -> None:
    def content(folder: str) -> str:
        root = tmp_path / folder
        return files_content(sorted(root.rglob("*.txt")), root)

    write(tmp_path, "one/a.txt", "same")
    write(tmp_path, "two/a.txt", "same")
    write(tmp_path, "other/a.txt", "emas")
    write(tmp_path, "renamed/b.txt", "same")
    os.utime(write(tmp_path, "newer/a.txt", "same"), ns=(10**18, 10**18 + 1))
    assert content("one") == content("two") == content("newer")
    assert len({content(folder) for folder in ("one", "other", "renamed")}) == 3


def test_a_name_that_is_not_text_counts(tmp_path: Path) -> None:
    names = [os.fsdecode(b"a\xff"), os.fsdecode(b"a\xfe")]
    files = [write(tmp_path, name, "same") for name in names]
    assert len({files_content([file], tmp_path) for file in files}) == 2


def test_state_shows_new_content_of_the_same_size_and_time(tmp_path: Path) -> None:
    file = write(tmp_path, "a.txt", "one")
    before = files_state([file], tmp_path)
    assert files_state([file], tmp_path) == before
    time.sleep(0.02)  # longer than a tick of the file system's clock
    write(tmp_path, "a.txt", "two")
    assert files_state([file], tmp_path).digest != before.digest


def test_recent_or_whole_times_prove_nothing() -> None:
    assert FilesState("", 100 * SECOND, whole_seconds=False).proves_content(104 * SECOND)
    assert not FilesState("", 100 * SECOND, whole_seconds=False).proves_content(102 * SECOND)
    assert not FilesState("", 100 * SECOND, whole_seconds=False).proves_content(90 * SECOND)
    assert not FilesState("", 100 * SECOND, whole_seconds=True).proves_content(104 * SECOND)


def test_what_is_missing_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone\.png: No such file"):
        files_state([tmp_path / "gone.png"], tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*gone\.png: No such file"):
        files_content([tmp_path / "gone.png"], tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"cannot read .*pipe\.png: this is not a regular file"):
        files_content([tmp_path / "pipe.png"], tmp_path)
