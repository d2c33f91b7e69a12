"""Published class lists: whole groups, single classes, and mistakes in them."""

from __future__ import annotations

import json

import pytest

from metabench.data import splits
from metabench.data.splits import Split, load_split
from metabench.errors import DataError

NAMES = ("A/1", "A/2", "B/1", "C/1", "C/2")


def split(**members: list[str]) -> Split:
    return Split("mine", "", {"base": [], "validation": [], "novel": [], **members}, "digest")


def test_a_class_is_looked_up_before_its_group() -> None:
    found = split(base=["A", "C"], novel=["B", "C/2"]).classes(NAMES)
    assert {name: ids.tolist() for name, ids in found.items()} == {
        "base": [0, 1, 3],
        "validation": [],
        "novel": [2, 4],
    }


def test_a_class_that_is_in_no_split_is_an_error() -> None:
    with pytest.raises(DataError, match="class B/1 is not in the split mine"):
        split(base=["A"], novel=["C"]).classes(NAMES)


def test_a_group_that_has_no_class_is_an_error() -> None:
    with pytest.raises(DataError, match="the split mine lists D, but no class has that name"):
        split(base=["A", "D"], novel=["B", "C"]).classes(NAMES)


def test_the_digest_follows_the_members_and_nothing_else(tmp_path, monkeypatch) -> None:
    content = {"name": "s", "source": "x", "base": ["A"], "validation": [], "novel": ["B"]}
    monkeypatch.setattr(splits, "FOLDER", tmp_path)

    def digest(**changes: object) -> str:
        (tmp_path / "s.json").write_text(json.dumps({**content, **changes}))
        return load_split("s").digest

    assert digest(source="y") == digest()
    assert digest(novel=["C"]) != digest()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("omniglot-vinyals", (33, 5, 12 + 4)),
        ("omniglot-1200", (38, 0, 12 + 4)),
        ("omniglot-background", (30, 0, 20)),
    ],
)
def test_the_lists_of_omniglot_name_fifty_alphabets(name: str, groups: tuple[int, ...]) -> None:
    members = load_split(name).members
    assert tuple(len(members[part]) for part in ("base", "validation", "novel")) == groups
    named = [member for part in members.values() for member in part]
    assert len(named) == len(set(named))
    assert len({member.partition("/")[0] for member in named}) == 50
