"""The paths of plugins that tests name."""

from __future__ import annotations

from pathlib import Path

from metabench.gating import plugin_paths


def test_a_file_next_to_the_test_comes_first_and_all_else_stays_as_given(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine.py"
    mine.touch()
    assert plugin_paths.find(["mine.py", "other.py", "a.module"], tmp_path) == (
        str(mine),
        "other.py",
        "a.module",
    )
    assert plugin_paths.find([mine], Path("elsewhere")) == (str(mine),)


def test_one_plugin_may_stand_alone() -> None:
    assert plugin_paths.find("a.module", Path("elsewhere")) == ("a.module",)
