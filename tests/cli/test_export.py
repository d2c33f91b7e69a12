"""`metabench export-manifest`: a suite's episodes in a file that anyone can read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.suites.builtin_suites import SUITES


@pytest.fixture
def export(cli):
    return lambda *args: cli("export-manifest", "digits-5w1s", *args)


def test_functions_have_no_images_to_export(cli) -> None:
    outcome = cli("export-manifest", "sinusoid-5s")
    assert outcome.code == 2
    assert "sinusoid-5s is a suite of functions" in outcome.err


def test_the_file_lists_the_first_episodes_image_by_image(export, tmp_path: Path) -> None:
    assert export("--episodes", "2") == (0, "", "wrote digits-5w1s.json\n")
    content = json.loads((tmp_path / "digits-5w1s.json").read_text())
    assert (content["name"], content["root"], content["size"]) == ("digits-5w1s", ".", None)
    assert len(content["episodes"]) == 2
    opened = SUITES[0].open()
    manifest, images = opened.episodes, opened.dataset.images
    for k, episode in enumerate(content["episodes"]):
        for part, members, labels in (
            ("support", manifest.support[k], manifest.support_y[k]),
            ("query", manifest.query[k], manifest.query_y[k]),
        ):
            assert [y for _, y in episode[part]] == labels.tolist()
            for (path, _), member in zip(episode[part], members, strict=True):
                assert np.array_equal(np.asarray(Image.open(tmp_path / path)), images[member, 0])


def test_the_file_is_written_to_the_given_path(export, tmp_path: Path) -> None:
    assert export("--episodes", "1", "-o", "there/some.json", "-q") == (0, "", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there"]
    assert (tmp_path / "there" / "some-images").is_dir()


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_a_manifest_with_images_cannot_go_to_stdout(export, tmp_path: Path, name: str) -> None:
    outcome = export("--episodes", "1", "-o", name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"metabench: error: -o {name}: the images need a folder")
    assert not list(tmp_path.iterdir())


def test_a_file_is_never_overwritten(export, tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text("mine")
    outcome = export("-o", "some.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "metabench: error: some.json already exists: move it away or choose another file with -o\n"
    )
    assert (tmp_path / "some.json").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["some.json"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["digit-5w1s"], "unknown suite 'digit-5w1s': did you mean 'digits-5w1s'?"),
        (["digits-5w*"], "'digits-5w*' matches digits-5w1s, digits-5w5s: name one suite"),
        (["digits-5w1s", "--episodes", "0"], "Invalid value for '--episodes': 0 is not in"),
        (["digits-5w1s", "-o", "file/some.json"], "cannot write manifest file file/some.json: "),
    ],
)
def test_a_mistake_is_one_line(cli, tmp_path: Path, args: list[str], error: str) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome = cli("export-manifest", *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"metabench: error: {error}")
    assert outcome.err.count("\n") == 1
