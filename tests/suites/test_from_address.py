"""Suites written on the command line: `folder:PATH[...]` and `manifest:FILE`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.errors import DataError, UsageError
from metabench.suites.from_address import addressed_suite, name_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four classes of three images each, dark on light."""
    generator = np.random.default_rng(0)
    for c in "abcd":
        (tmp_path / "Letters" / c).mkdir(parents=True)
        for i in range(3):
            image = generator.integers(128, 255, (10, 12), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "Letters" / c / f"{i}.png")
    return tmp_path / "Letters"


@pytest.fixture
def manifest(folder: Path) -> Path:
    """Two episodes, two ways, over images of the folder."""

    def episode(*classes: str) -> dict[str, list[list[object]]]:
        parts = {"support": [0], "query": [1, 2]}
        return {
            part: [[f"{c}/{i}.png", y] for y, c in enumerate(classes) for i in images]
            for part, images in parts.items()
        }

    file = folder.parent / "mine.json"
    episodes = [episode("a", "b"), episode("c", "d")]
    content = {"name": "My.Suite_v1", "root": "Letters", "size": None, "episodes": episodes}
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("text", ["digits-5w1s", "digits-*", "protonet[lr=1]", "other:thing"])
def test_a_plain_name_is_no_address(text: str) -> None:
    assert addressed_suite(text, None) is None


def test_a_folder_takes_its_shape_from_the_address(folder: Path, tmp_path: Path) -> None:
    suite = addressed_suite(
        f"folder:{folder}[way=4,shot=2,query=1,episodes=7,size=0,split=novel]", str(tmp_path / "d")
    )
    assert suite is not None
    assert re.fullmatch(r"folder-letters-4w2s-[0-9a-f]{6}", suite.name)
    assert (suite.way, suite.shot, suite.query, suite.episodes) == (4, 2, 1, 7)
    opened = suite.open(tmp_path / "d")
    assert opened.dataset.shape == (1, 10, 12)  # size=0 keeps images as they are
    assert len(opened.episodes.support) == 7
    assert (tmp_path / "d" / "cache").is_dir()


def test_a_folder_without_parameters_has_the_usual_shape(folder: Path) -> None:
    with pytest.raises(DataError) as caught:  # 5-way, which four classes do not allow
        addressed_suite(f"folder:{folder}", None)
    assert "5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inverted_images_are_their_complement(folder: Path) -> None:
    address = f"folder:{folder}[way=2,query=1,size=0,split=novel%s]"
    plain, inverted = (addressed_suite(address % more, None) for more in ("", ",invert=true"))
    assert plain is not None
    assert inverted is not None
    first, second = (s.open().dataset.images for s in (plain, inverted))
    assert np.array_equal(255 - first, second)


def test_a_manifest_says_everything_itself(manifest: Path) -> None:
    suite = addressed_suite(f"manifest:{manifest}", None)
    assert suite is not None
    assert (suite.way, suite.shot, suite.query, suite.episodes) == (2, 1, 2, 2)
    opened = suite.open()
    assert opened.material is None
    assert sorted(opened.episodes.query_y[0].tolist()) == [0, 0, 1, 1]


def test_a_manifest_never_has_the_name_of_the_suite_it_was_exported_from(manifest: Path) -> None:
    suite = addressed_suite(f"manifest:{manifest}", None)
    assert suite is not None
    assert re.fullmatch(r"manifest-my-suite-v1-[0-9a-f]{6}", suite.name)
    assert suite.address == f"manifest:{manifest}"


def test_folders_of_one_name_are_suites_of_two(tmp_path: Path) -> None:
    names = set()
    for where, shade in (("here", 0), ("there", 9)):
        for c in range(2):
            (tmp_path / where / "same" / str(c)).mkdir(parents=True)
            for i in range(2):
                image = np.full((4, 4), 100 * c + i + shade, dtype=np.uint8)
                Image.fromarray(image).save(tmp_path / where / "same" / str(c) / f"{i}.png")
        text = f"folder:{tmp_path / where / 'same'}[way=2,query=1,split=novel]"
        suite = addressed_suite(text, str(tmp_path / "d"))
        assert suite is not None
        names.add(suite.name)
    assert len(names) == 2


def test_a_manifest_whose_name_is_no_file_name_is_refused(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("My.Suite_v1", "../other/suite"))
    with pytest.raises(UsageError, match=r"suite name '\.\./other/suite'"):
        addressed_suite(f"manifest:{manifest}", None)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("folder:{}[wya=2]", "unknown parameter of folder 'wya': did you mean 'way'?"),
        ("folder:{}[way=two]", "folder[way=two]: 'way' takes int"),
        ("folder:{}[way=1]", "suite folder-letters-1w1s: way=1, must be at least 2"),
        ("folder:{}[way=2", "cannot read '"),
        ("folder:", "cannot read ''"),
        ("manifest:{}[way=2]", "'manifest:{}[way=2]': a manifest file takes no parameters"),
    ],
)
def test_a_wrong_address_is_a_usage_error(folder: Path, address: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        addressed_suite(address.replace("{}", str(folder)), None)
    assert str(caught.value).startswith(error.replace("{}", str(folder)))


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_what_is_not_there_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="none-such"):
        addressed_suite(f"{kind}:{tmp_path / 'none-such'}", None)


def test_spellings_of_one_folder_have_one_address(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    ends = "[way=2,query=1,split=novel,invert=true]"
    spelt = [
        f"folder:Letters{ends}",
        f"folder:./Letters/{ends}",
        f"folder:{folder}{ends}",
        f'folder:"Letters"{ends}',
        "folder:Letters[invert=TRUE,split=novel,shot=01,query=1,way=2,size=28]",
    ]
    found = [addressed_suite(text, None) for text in spelt]
    assert {suite and suite.address for suite in found} == {spelt[0]}
    assert len({suite and suite.name for suite in found}) == 1
    assert name_of(spelt[1], None) == found[0].name
    assert name_of("digits-*", None) == "digits-*"


def test_the_address_of_a_folder_with_brackets_can_be_pasted(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    moved = folder.rename(folder.parent / 'a "b" [way=4], c')
    suite = addressed_suite(f"folder:{moved}[way=2,query=1,split=novel]", None)
    assert suite is not None
    again = addressed_suite(suite.address, None)
    assert (again.name, again.address) == (suite.name, suite.address)


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "no [such]", "~nobody-at-all/x"])
def test_a_path_that_cannot_be_looked_at_is_one_line(path: str) -> None:
    with pytest.raises((DataError, UsageError)) as caught:
        addressed_suite(f"folder:{path}", None)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"cannot read 'no \[such\]'.*in quotes"):
        addressed_suite("folder:no [such][way=2]", None)
