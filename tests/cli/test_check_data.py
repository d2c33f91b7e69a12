"""`metabench check-data SUITE`: its output and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write images in class folders: ten classes of six, in two splits."""
    rng = np.random.default_rng(0)
    for k in range(10):
        split = "base" if k < 5 else "novel"
        home = tmp_path / "mine" / split / f"class-{k}"
        home.mkdir(parents=True)
        for i in range(6):
            image = Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8))
            image.save(home / f"{i}.png")
    return tmp_path / "mine"


SUITE = "folder:mine[way=2,shot=1,query=2,episodes=20]"


def test_a_good_suite_has_no_leaks(cli, folder: Path) -> None:
    outcome = cli("check-data", SUITE)
    assert (outcome.code, outcome.err) == (0, "")
    *rows, summary = outcome.out.splitlines()
    assert all(row.endswith(" none") for row in rows)
    assert summary.endswith(": no leaks")


def test_a_leak_is_shown_with_advice(cli, folder: Path) -> None:
    (folder / "novel/class-7/0.png").write_bytes((folder / "base/class-1/3.png").read_bytes())
    outcome = cli("check-data", SUITE)
    assert outcome.code == 1
    assert "equal images in two splits           1" in outcome.out
    assert "('class-1') equals novel" in outcome.out
    assert "do: remove them from all splits but one" in outcome.out
    content = json.loads(cli("check-data", SUITE, "--json").out)
    assert content["schema"] == 1
    assert {leak["check"] for leak in content["leaks"] if leak["found"]} >= {
        "equal images in two splits"
    }


def test_an_unknown_suite_is_one_line(cli) -> None:
    outcome = cli("check-data", "digits-5w9s")
    assert (outcome.code, outcome.out) == (2, "")
    assert "unknown suite 'digits-5w9s': did you mean" in outcome.err
