"""Suites opened once for a run, and what learners of each may train on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from metabench.errors import DataError
from metabench.suites.builtin_suites import SUITES
from metabench.suites.suite import Suite
from metabench.suites.training_data import TrainingData
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.suite_cache import SuiteCache


def shades(base: str, novel: str) -> Suite:
    """Four shades of grey, with the same pixels whichever classes are novel."""
    x = np.repeat(np.arange(4, dtype=np.uint8), 6)[:, None, None] * np.ones((8, 8), np.uint8)
    y = np.repeat(list("abcd"), 6)
    splits = {"base": list(base), "novel": list(novel)}
    return Suite.from_arrays(x * 60, y, name="shades", way=2, query=3, splits=splits)


def test_material_lies_in_a_folder_until_the_cache_is_closed() -> None:
    suites = SuiteCache(None)
    found = suites.material(SUITES[0])
    assert found is not None
    material, folder = found
    assert np.array_equal(TrainingData.load(folder).images, material.images)
    assert suites.material(SUITES[0]) == found
    suites.close()
    assert not Path(folder).exists()


def test_suites_of_one_dataset_share_its_material() -> None:
    suites = SuiteCache(None)
    first, second = (suites.material(suite) for suite in SUITES[:2])
    assert first == second
    suites.close()


def test_equal_pixels_split_in_other_ways_are_kept_apart() -> None:
    """Else one suite's novel classes would be another's base classes, unnoticed."""
    suites = SuiteCache(None)
    both = shades("ab", "cd"), shades("cd", "ab")
    assert both[0].name == both[1].name
    for suite in both:
        opened = suites.open(suite)
        found = suites.material(suite)
        assert opened.suite is suite
        assert found is not None
        seen = {image.tobytes() for image in TrainingData.load(found[1]).images}
        novel = opened.dataset.split("novel")
        hidden = {
            opened.dataset.images[i].tobytes() for c in novel for i in opened.dataset.images_of[c]
        }
        assert seen
        assert not seen & hidden
    suites.close()


def test_training_on_test_images_is_refused(tmp_path: Path) -> None:
    request = Request(
        suites=["digits-5w1s"],
        algorithms=["chance"],
        train_on="digits-chunks",
        results=str(tmp_path),
    )
    with pytest.raises(DataError, match=r"test images of digits-5w1s are in the base data of"):
        PreparedRun(request)


def test_a_full_disk_is_one_line(monkeypatch) -> None:
    def full(self: TrainingData, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrainingData, "save", full)
    suites = SuiteCache(None)
    with pytest.raises(DataError, match=r"cannot write .*: No space left on device; .*TMPDIR"):
        suites.material(SUITES[0])
    suites.close()


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from metabench.leftovers import temporary_name as n; print(n('metabench'))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left = tmp_path / made.stdout.strip()
    left.mkdir()
    (left / "images.npy").touch()
    SuiteCache(None).close()
    assert list(tmp_path.iterdir()) == []
