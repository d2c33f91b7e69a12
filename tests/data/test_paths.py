"""Paths that cannot be read are named in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metabench.data.paths import absolute, list_folder
from metabench.errors import DataError


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("a\0b", "cannot read .*/a.b: embedded null"),
        ("x" * 5000, "cannot read .{1000}: File name too long"),
        ("l\udce4nder", "is not UTF-8: rename it"),
    ],
)
def test_a_path_that_cannot_be_is_an_error_of_one_line(path: str, error: str) -> None:
    with pytest.raises(DataError, match=error) as caught:
        absolute(path)
    assert "\n" not in str(caught.value)


def test_a_path_need_not_exist(tmp_path: Path) -> None:
    assert absolute(tmp_path / "none") == tmp_path / "none"
    assert absolute("~nosuchuser/x") == Path.cwd() / "~nosuchuser/x"  # as in shells


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed" / "inner").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    try:
        for call in (list_folder, lambda folder: absolute(folder / "inner")):
            with pytest.raises(DataError, match=r"cannot read .*closed.*Permission denied"):
                call(tmp_path / "closed")
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none: No such file"):
        list_folder(tmp_path / "none")


def test_hidden_entries_are_left_out(tmp_path: Path) -> None:
    for name in ("b", ".hidden", "a", "__MACOSX"):
        (tmp_path / name).touch()
    assert [entry.name for entry in list_folder(tmp_path)] == ["a", "b"]
