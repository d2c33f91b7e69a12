from __future__ import annotations

import os
import resource
import secrets
from pathlib import Path

import pytest

from metabench import files
from metabench.files import (
    check_room,
    expanded,
    read_file,
    sha256_folder,
    write_atomically,
    write_output,
)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_gets_the_rights_that_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_output_goes_into_pipes_and_through_links(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "docs" / "target"
    os.mkfifo(pipe)
    link.symlink_to("docs/target")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_output(pipe, b"one")
    assert (os.read(reader, 10), pipe.is_fifo()) == (b"one", True)
    os.close(reader)
    for content in (b"new", b"newer"):  # at first, the link leads nowhere
        write_output(link, content)
        assert (link.is_symlink(), target.read_bytes()) == (True, content)
    write_output(tmp_path / "plain", b"whole")
    assert (tmp_path / "plain").read_bytes() == b"whole"
    write_output(Path(os.devnull), b"nothing")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="symbolic links"):
        write_output(loop, b"nothing")
    assert Path(os.devnull).is_char_device()


def test_a_folder_with_no_room_is_an_error_and_stays_as_it_was(tmp_path: Path) -> None:
    check_room(tmp_path / "a" / "b")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # as on a disk that is full
    try:
        (tmp_path / "empty").touch()
        with pytest.raises(OSError, match="too large"):
            check_room(tmp_path / "a" / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "link", most=4) == b"1234"
    for name, most, said in (
        ("file", 3, "larger than"),
        ("pipe", 3, "not a regular file"),
        (os.devnull, 3, "not a regular file"),
        (".", 3, "directory"),
        ("missing", 3, "No such file"),
    ):
        with pytest.raises(OSError, match=said):
            read_file(tmp_path / name, most)


def test_the_digest_of_a_folder_covers_names_and_contents(tmp_path: Path) -> None:
    def digest(change=lambda folder: None) -> str:
        folder = tmp_path / secrets.token_hex(4)
        (folder / "b" / "c").mkdir(parents=True)
        (folder / "b" / "c" / "x").write_text("1")
        (folder / "b" / "y").write_text("2")
        (folder / "a").mkdir()
        change(folder)
        return sha256_folder(folder)

    def renamed(folder: Path) -> None:
        (folder / "b" / "y").rename(folder / "b" / "z")

    def without_files(folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "x.pyc").write_text("cache")

    def linked(folder: Path) -> None:
        (folder / "link").symlink_to("/")

    assert digest() == digest(without_files)
    changed = [lambda folder: (folder / "b" / "c" / "x").write_text("3"), renamed, linked]
    assert len({digest(), *map(digest, changed)}) == 4


def test_the_digest_of_a_large_folder_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "_MAX_FILES", 2)
    monkeypatch.setattr(files, "_MAX_BYTES", 4)
    found = []
    for contents in (("aaa", "bb", "c"), ("aaa", "xx", "y"), ("aaa", "x", "y"), ("zzz", "bb", "")):
        for name, content in zip("123", contents, strict=True):
            (tmp_path / name).write_text(content)
        found.append(sha256_folder(tmp_path))
    assert found[0] == found[1]
    assert len({*found}) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_of_which_a_part_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(OSError, match="Permission"):
        sha256_folder(tmp_path)


def test_a_home_folder_that_is_unknown_is_not_replaced(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x.py") == tmp_path / "x.py"
    assert expanded("~nosuch/x.py") == Path("~nosuch/x.py")
