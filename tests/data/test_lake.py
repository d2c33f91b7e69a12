"""Published one-shot runs: folders in their format, and mistakes in them."""

from __future__ import annotations

import codecs
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from omniglot_data import ROOT, needs_omniglot
from PIL import Image

import metabench
from metabench import Suite
from metabench.data import lake, omniglot
from metabench.errors import DataError
from metabench.suites.from_address import addressed_suite


def drawing(file: Path, number: int) -> None:
    """Black ink on white paper, 105x105, one bit a pixel."""
    paper = np.ones((105, 105), dtype=bool)
    paper[4 * number : 4 * number + 20, 40:60] = False
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paper).save(file)


def write_runs(folder: Path, runs: int = 2, way: int = 20) -> Path:
    """Runs whose test item k shows class (3 k + run) mod way."""
    for run in range(1, runs + 1):
        lines = []
        for k in range(way):
            of = (3 * k + run) % way
            item = f"run{run:02d}/test/item{k:02d}.png"
            training = f"run{run:02d}/training/class{of:02d}.png"
            drawing(folder / item, of)
            drawing(folder / training, of)
            lines.append(f"{item} {training}")
        (folder / f"run{run:02d}" / "class_labels.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def test_each_run_is_an_episode_with_one_query_a_class(tmp_path, runs) -> None:
    suite = Suite.from_lake_runs(runs, data_root=tmp_path)
    assert suite.name.startswith("omniglot-lake-")  # two runs, the published ones are 20
    assert (suite.way, suite.shot, suite.query) == (20, 1, 1)
    assert suite.episodes == 2
    opened = suite.open()
    images, manifest = opened.dataset.images, opened.episodes
    assert images.shape[1:] == (1, 28, 28)
    assert images.max() == 255  # ink
    assert np.median(images) == 0  # paper
    for run in range(2):
        support = images[manifest.support[run]]
        right = support[manifest.query_y[run]]
        assert np.array_equal(images[manifest.query[run]], right)
        assert sorted(manifest.query_y[run]) == list(range(20))


def test_queries_are_not_in_the_order_of_the_file(tmp_path, runs) -> None:
    manifest = Suite.from_lake_runs(runs, data_root=tmp_path).open().episodes
    assert manifest.query_y[0].tolist() != [(3 * k + 1) % 20 for k in range(20)]


def test_the_address_names_the_suite(tmp_path, runs) -> None:
    suite = addressed_suite(f"lake:{runs}", str(tmp_path))
    assert suite is not None
    assert suite.address == f"lake:{runs}"


def test_only_twenty_runs_of_twenty_ways_have_the_plain_name(tmp_path, runs) -> None:
    few = Suite.from_lake_runs(runs, data_root=tmp_path).name
    for number in range(3, 21):
        shutil.copytree(runs / "run01", runs / f"run{number:02d}")
        lists = runs / f"run{number:02d}" / "class_labels.txt"
        lists.write_text(lists.read_text().replace("run01/", f"run{number:02d}/"))
    assert Suite.from_lake_runs(runs, data_root=tmp_path).name == "omniglot-lake"
    shutil.rmtree(runs / "run20")
    assert Suite.from_lake_runs(runs, data_root=tmp_path).name not in ("omniglot-lake", few)


def one_line(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        lake.load(folder, folder.parent)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_runs_is_an_error(tmp_path) -> None:
    assert "no runs in" in one_line(tmp_path / "nothing")


def test_a_run_without_its_list_is_an_error(runs) -> None:
    (runs / "run02" / "class_labels.txt").unlink()
    assert one_line(runs).startswith(f"cannot read {runs}/run02/class_labels.txt: No such file")


def test_a_pipe_in_place_of_a_list_is_an_error(runs) -> None:
    (runs / "run02" / "class_labels.txt").unlink()
    os.mkfifo(runs / "run02" / "class_labels.txt")
    assert one_line(runs).endswith("run02/class_labels.txt: this is not a regular file")


def test_a_list_as_windows_writes_it_is_read(tmp_path, runs) -> None:
    before = lake.load(runs, tmp_path)[1]
    for file in runs.glob("*/class_labels.txt"):
        text = file.read_text().replace("\n", "\r\n")
        file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    after = lake.load(runs, tmp_path)[1]
    assert np.array_equal(before.support, after.support)


def test_a_line_that_is_no_pair_is_named(runs) -> None:
    file = runs / "run01" / "class_labels.txt"
    file.write_text(file.read_text() + "\nrun01/test/item20.png\n")
    assert "run01/class_labels.txt, line 22: write a test image and a training" in one_line(runs)


def test_a_missing_image_is_named(runs) -> None:
    (runs / "run02" / "test" / "item07.png").unlink()
    assert "run02/test/item07.png" in one_line(runs)


def test_a_run_of_another_size_is_named(tmp_path, runs) -> None:
    write_runs(tmp_path / "more", runs=3, way=19)
    (tmp_path / "more" / "run03").rename(runs / "run03")
    assert "episode 2: 19 classes" in one_line(runs)


def write_real_runs(folder: Path, runs: int) -> dict[str, str]:
    """Runs made of Omniglot itself, 20 characters of one alphabet each, drawn by two people.

    Returns the class of every training image.
    """
    class_of = {}
    with zipfile.ZipFile(ROOT / "omniglot" / "images_evaluation.zip") as archive:
        drawings: dict[str, dict[str, list[str]]] = {}
        for path in sorted(archive.namelist()):
            if path.endswith(".png"):
                _, alphabet, character, _ = path.split("/")
                drawings.setdefault(alphabet, {}).setdefault(character, []).append(path)
        large = [alphabet for alphabet, characters in drawings.items() if len(characters) >= 20]
        for run, alphabet in enumerate(large[:runs], 1):
            lines = []
            for k, character in enumerate(sorted(drawings[alphabet])[:20]):
                training = f"run{run:02d}/training/class{k + 1:02d}.png"
                item = f"run{run:02d}/test/item{(7 * k) % 20 + 1:02d}.png"
                for path, drawer in ((training, 0), (item, 1)):
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    content = archive.read(drawings[alphabet][character][drawer])
                    (folder / path).write_bytes(content)
                class_of[training] = f"{alphabet}/{character}/rot000"
                lines.append(f"{item} {training}")
            (folder / f"run{run:02d}" / "class_labels.txt").write_text("\n".join(sorted(lines)))
    return class_of


@needs_omniglot
@pytest.mark.slow
def test_runs_made_of_omniglot_are_its_own_images(tmp_path) -> None:
    class_of = write_real_runs(tmp_path / "runs", runs=4)
    suite = Suite.from_lake_runs(tmp_path / "runs", data_root=tmp_path)
    opened, whole = suite.open(), omniglot.load_background(ROOT)
    for name, real in class_of.items():
        image = opened.dataset.images[opened.dataset.classes.index(name)]
        first = whole.images_of[whole.classes.index(real)][0]
        assert np.array_equal(image, whole.images[first])


@needs_omniglot
@pytest.mark.slow
def test_what_trains_on_the_background_set_beats_pixels_on_such_runs(tmp_path) -> None:
    write_real_runs(tmp_path / "runs", runs=12)
    found = metabench.run(
        f"lake:{tmp_path / 'runs'}",
        ["pixel-1nn", "protonet", "chance"],
        budget="tasks=150",
        data_root=ROOT,
        train_on="omniglot-background-20w1s",
        results=tmp_path / "results",
    )
    score = {result.job.algorithm: float(result.per_episode().mean()) for result in found}
    assert all(result.suite.name.startswith("omniglot-lake-") for result in found)
    assert score["chance"] < 0.1 < 0.15 < score["pixel-1nn"] < score["protonet"]


def test_a_byte_order_mark_and_line_ends_of_windows_are_passed_over(tmp_path, runs) -> None:
    expected = Suite.from_lake_runs(runs, data_root=tmp_path).open().episodes.digest
    for file in runs.rglob("class_labels.txt"):
        lines = file.read_text().replace("\n", "\r\n")
        file.write_bytes(codecs.BOM_UTF8 + lines.encode())
    assert Suite.from_lake_runs(runs, data_root=tmp_path).open().episodes.digest == expected


def test_a_list_that_is_a_pipe_is_not_waited_for(tmp_path, runs) -> None:
    (runs / "run01" / "class_labels.txt").unlink()
    os.mkfifo(runs / "run01" / "class_labels.txt")
    with pytest.raises(DataError, match=r"class_labels\.txt: this is not a regular file"):
        Suite.from_lake_runs(runs, data_root=tmp_path)
