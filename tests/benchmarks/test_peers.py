"""Peers that are measured against, and their installation."""

from __future__ import annotations

import tomllib
from pathlib import Path

from benchmarks.peers import PACKAGES, PLAIN, present

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_extra_asks_for_the_same_versions() -> None:
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    wheels = {name: package.requirement for name, package in PACKAGES.items()}
    del wheels["learn2learn"]  # its wheel would have to be compiled
    assert sorted(extras["peers"]) == sorted(wheels.values())


def test_the_plain_loop_is_always_there(tmp_path: Path) -> None:
    assert present(PLAIN, tmp_path)


def test_a_source_package_is_not_there_before_it_is_unpacked(tmp_path: Path) -> None:
    assert not present("learn2learn", tmp_path)
    file = tmp_path / PACKAGES["learn2learn"].file
    file.parent.mkdir(parents=True)
    file.touch()
    assert present("learn2learn", tmp_path)
