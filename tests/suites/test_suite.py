from __future__ import annotations

import dataclasses
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omniglot_data import ROOT, needs_omniglot
from PIL import Image

from metabench import DataError, Suite, UsageError
from metabench.data import manifest_file
from metabench.data.dataset import SPLITS, Dataset
from metabench.data.functions import FUNCTIONS
from metabench.suites.builtin_suites import EMBEDDED, SUITES
from metabench.suites.open_suite import OpenSuite
from metabench.suites.protocol import BySplit, Chunks
from metabench.suites.training_data import TrainingData

DIGESTS = json.loads((Path(__file__).parent / "digests.json").read_text())


def _param(suite: Suite) -> Any:
    marks = {
        "omniglot": (needs_omniglot, pytest.mark.slow),
        "mnist": (pytest.mark.skip(reason="MNIST is not here; tests/data/test_mnist.py reads it"),),
    }.get(suite.dataset_name, ())
    return pytest.param(suite, marks=marks, id=suite.name)


every_suite = pytest.mark.parametrize("suite", [_param(suite) for suite in SUITES])


def opened_suite(suite: Suite) -> OpenSuite:
    return suite.open(ROOT if suite.dataset_name == "omniglot" else None)


def arrays(classes: int = 10, per_class: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Images whose first pixel is their class."""
    y = np.arange(classes).repeat(per_class)
    x = np.random.default_rng(0).integers(0, 255, (len(y), 6, 6), dtype=np.uint8)
    x[:, 0, 0] = y
    return x, y


@every_suite
def test_digests_are_the_recorded_ones(suite: Suite) -> None:
    opened = opened_suite(suite)
    assert {
        "episodes": opened.episodes.digest,
        "block 1": opened.manifest(1).digest,
        "pixels": opened.dataset.pixels,
    } == DIGESTS.get(suite.name)


def keys(examples: Dataset | TrainingData, members: np.ndarray) -> np.ndarray:
    """Return a key for each example: a hash of its pixels, or its point and value."""
    if examples.targets is None:
        return np.array([hash(image.tobytes()) for image in examples.images[members]])
    both = np.hstack([examples.images[members], examples.targets[members]])
    return both.view(np.int64)[:, 0]  # two numbers of four bytes


@every_suite
def test_classes_of_the_images_drawn_are_disjoint(suite: Suite) -> None:
    """Over 10,000 episodes a split, on the images themselves (for functions, on their points)."""
    if isinstance(suite.protocol, Chunks):
        pytest.skip("all of its tasks have the same classes")
    every = 10_000 if suite.kind == "classification" else FUNCTIONS["novel"]  # none comes twice
    opened = opened_suite(dataclasses.replace(suite, episodes=every, query=2))
    dataset, material = opened.dataset, opened.material
    assert material is not None
    novel = opened.episodes
    seen = {"novel": np.unique(dataset.labels[np.hstack([novel.support, novel.query])])}
    trained = material.training(0, 0, 10_000, min(suite.way, 5), 1, 2)
    seen_images = {"base": keys(material, np.unique(np.hstack([trained.support, trained.query])))}
    checked = material.validating(10_000, suite.way, suite.shot, 2)
    if checked is not None:
        members = np.unique(np.hstack([checked.support, checked.query]))
        seen_images["validation"] = keys(material, members)
    everything = keys(dataset, np.arange(len(dataset.images)))
    order = np.argsort(everything, kind="stable")
    for split, images in seen_images.items():
        # Learners get copies of images, so the class is found again by the pixels.
        places = np.searchsorted(everything[order], images, side="right") - 1
        assert np.array_equal(everything[order][places], images)
        seen[split] = np.unique(dataset.labels[order][places])
    for split, classes in seen.items():
        assert set(classes) <= set(dataset.split(split)), split
    assert sum(len(c) for c in seen.values()) == len(set().union(*map(set, seen.values())))


@every_suite
def test_support_and_query_never_share_an_image(suite: Suite) -> None:
    manifest = opened_suite(suite).episodes
    both = np.sort(np.hstack([manifest.support, manifest.query]), axis=1)
    assert (np.diff(both, axis=1) > 0).all()


def test_chunk_episodes_stay_in_one_chunk_with_support_and_query_apart() -> None:
    suite = next(s for s in SUITES if s.name == "digits-chunks")
    opened = suite.open()
    pool = opened.pools["novel"]
    chunks = [
        (
            np.concatenate([pool.support[e] for e in group]),
            np.concatenate([pool.query[e] for e in group]),  # type: ignore[index]
        )
        for group in pool.groups
    ]
    used = set()
    for support, query in zip(opened.episodes.support, opened.episodes.query, strict=True):
        (inside,) = [k for k, (s, _) in enumerate(chunks) if np.isin(support, s).all()]
        assert np.isin(query, chunks[inside][1]).all()
        used.add(inside)
    assert used == {0, 1, 2}
    assert len(opened.episodes) == 600


@pytest.mark.parametrize(("way", "shot", "query"), [(2, 1, 15), (5, 1, 1), (20, 2, 3)])
def test_any_shape_of_episode_works(way: int, shot: int, query: int) -> None:
    suite = Suite.from_arrays(
        *arrays(60), way=way, shot=shot, query=query, episodes=7, split="novel"
    )
    manifest = suite.open().episodes
    assert manifest.support.shape == (7, way * shot)
    assert manifest.query_y.shape == (7, way * query)
    assert [len(set(row)) for row in manifest.query_y] == [way] * 7


def test_further_blocks_hold_other_episodes_and_leave_the_first_alone() -> None:
    opened = SUITES[0].open()
    first = opened.episodes.digest
    assert opened.manifest(1).digest != first
    double = dataclasses.replace(SUITES[0], episodes=2000).open().episodes
    assert np.array_equal(double.support[1000:], opened.manifest(1).support)


def test_from_arrays_scores_its_novel_classes() -> None:
    x, y = arrays()
    suite = Suite.from_arrays(
        x, y, way=3, splits={"base": range(6), "novel": [6, 7, 8, 9]}, episodes=50
    )
    opened = suite.open()
    assert re.fullmatch(r"arrays-3w1s-[0-9a-f]{6}", suite.name)
    assert set(opened.dataset.images[opened.episodes.query][..., 0, 0, 0].flat) == {6, 7, 8, 9}


def test_too_few_classes_or_images_is_said_when_the_suite_is_made() -> None:
    x, y = arrays(classes=3)
    with pytest.raises(
        DataError, match=r"5-way episodes need 5 classes, there are 3 \(2 missing\)"
    ):
        Suite.from_arrays(x, y, split="novel")
    with pytest.raises(DataError, match=r"class '0' has 20 images.*need 21 \(1 missing\)"):
        Suite.from_arrays(x, y, split="novel", way=2, shot=6)


@pytest.mark.parametrize("wrong", [{"way": 1}, {"shot": 0}, {"query": 0}, {"episodes": 0}])
def test_impossible_numbers_are_refused(wrong: dict[str, int]) -> None:
    numbers = {"way": 5, "shot": 1, **wrong}
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}=.*must be at least"):
        Suite("wrong", "metabench.data.digits:load", **numbers)


def test_from_folder_reads_class_folders(tmp_path: Path) -> None:
    x, y = arrays(classes=4)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        file = tmp_path / "shapes" / f"class{label}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    suite = Suite.from_folder(
        tmp_path / "shapes", way=4, split="novel", size=None, episodes=3, data_root=tmp_path / "d"
    )
    opened = suite.open()
    assert re.fullmatch(r"folder-shapes-4w1s-[0-9a-f]{6}", suite.name)
    classes = opened.dataset.images[opened.episodes.support][..., 0, 0, 0]
    assert np.array_equal(classes, opened.episodes.classes)


def test_a_manifest_gives_back_the_episodes_it_was_written_from(tmp_path: Path) -> None:
    opened = dataclasses.replace(SUITES[0], episodes=20).open()
    m, images = opened.episodes, opened.dataset.images
    file = tmp_path / "some.json"
    manifest_file.write(file, "some", opened.dataset, m.support, m.support_y, m.query, m.query_y)
    again = Suite.from_manifest(file, data_root=tmp_path / "data").open()
    n, same = again.episodes, again.dataset.images
    assert (again.suite.name, again.suite.way, again.suite.shot) == ("some", 5, 1)
    assert np.array_equal(images[m.support], same[n.support])
    assert again.material is None
    for k in range(20):  # the same queries with the same labels, in another order
        before = {
            (images[i].tobytes(), int(y)) for i, y in zip(m.query[k], m.query_y[k], strict=True)
        }
        after = {(same[i].tobytes(), int(y)) for i, y in zip(n.query[k], n.query_y[k], strict=True)}
        assert before == after


def test_a_manifest_with_sorted_queries_is_shuffled(tmp_path: Path) -> None:
    opened = dataclasses.replace(SUITES[0], episodes=10).open()
    m = opened.episodes
    order = np.argsort(m.query_y, axis=1, kind="stable")
    query, labels = (np.take_along_axis(a, order, axis=1) for a in (m.query, m.query_y))
    manifest_file.write(
        tmp_path / "s.json", "s", opened.dataset, m.support, m.support_y, query, labels
    )
    shuffled = Suite.from_manifest(tmp_path / "s.json", data_root=tmp_path / "data").open()
    assert (np.diff(shuffled.episodes.query_y, axis=1) < 0).any(axis=1).all()


def test_the_embedded_default_needs_no_network_and_exists() -> None:
    assert set(EMBEDDED) <= {suite.name for suite in SUITES}


def test_names_are_unique_and_say_their_shape() -> None:
    assert len({suite.name for suite in SUITES}) == len(SUITES)
    for suite in SUITES:
        assert suite.name.startswith(suite.dataset_name)
        if suite.kind == "regression":
            assert suite.name.endswith(f"-{suite.shot}s")
        elif isinstance(suite.protocol, BySplit):
            assert suite.name.endswith(f"-{suite.way}w{suite.shot}s")


@every_suite
def test_splits_of_every_dataset_are_class_disjoint(suite: Suite) -> None:
    dataset = opened_suite(suite).dataset
    splits = [set(dataset.split(split)) for split in SPLITS]
    assert sum(map(len, splits)) == len(set.union(*splits))


@needs_omniglot
@pytest.mark.slow
def test_episodes_of_one_group_stay_in_one_alphabet_and_rotation() -> None:
    suite = next(suite for suite in SUITES if suite.name == "omniglot-alphabet-20w1s")
    opened = opened_suite(suite)
    names = opened.dataset.classes

    def groups(classes: np.ndarray) -> set[tuple[str, str]]:
        parts = [names[c].split("/") for c in classes]
        return {(alphabet, rotation) for alphabet, _, rotation in parts}

    drawn = [groups(classes) for classes in opened.episodes.classes]
    assert {len(group) for group in drawn} == {1}
    every = set.union(*drawn)
    assert len(every) == 12 * 4  # all novel alphabets but Gurmukhi's four characters
    assert ("Gurmukhi", "rot000") not in every


class Made:
    def __call__(self, root: Path) -> Dataset:
        raise NotImplementedError


def made(root: Path, size: int) -> Dataset:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("dataset", "name"), [(partial(partial(made), size=3), "made"), (Made(), "Made")]
)
def test_the_code_of_a_partial_or_a_callable_object_is_found(dataset: Any, name: str) -> None:
    assert Suite("mine", dataset, way=5, shot=1).code[1] == f"{__name__}:{name}"


@pytest.mark.parametrize(
    ("classes", "error"),
    [
        (
            12,
            "12 classes were split into 7 base / 2 validation / 3 novel: use way=3 or less, "
            "or give split=novel to test on all classes and train on none, or add classes",
        ),
        (5, "3 base / 1 validation / 1 novel: give split=novel to test on all classes"),
        (2, "1 base / 0 validation / 1 novel: give split=novel with way=2 to test on all"),
    ],
)
def test_classes_that_a_split_made_too_few_are_explained(tmp_path, classes, error) -> None:
    x, y = arrays(classes)
    with pytest.raises(DataError, match="5-way episodes need 5 novel classes") as caught:
        Suite.from_arrays(x, y, data_root=tmp_path)
    assert error in str(caught.value)


def test_splits_of_the_users_own_are_not_advised_against(tmp_path) -> None:
    x, y = arrays(8)
    splits = {"base": [0, 1, 2, 3], "novel": [4, 5, 6, 7]}
    with pytest.raises(DataError, match=r"4 novel: use way=4 or less, or add classes$"):
        Suite.from_arrays(x, y, splits=splits, data_root=tmp_path)


def test_arrays_without_a_name_never_share_one(tmp_path: Path) -> None:
    x, y = arrays()
    made = [
        Suite.from_arrays(images, y, way=2, query=query, episodes=5, data_root=tmp_path)
        for images, query in ((x, 15), (x, 5), (255 - x, 15), (x, 15))
    ]
    names = [suite.name for suite in made]
    assert len(set(names)) == 3
    assert names[0] == names[3]
    named = Suite.from_arrays(x, y, name="mine", way=2, episodes=5, data_root=tmp_path)
    assert named.name == "mine-2w1s"


def test_numbers_of_numpy_are_stored_as_plain_ones() -> None:
    suite = dataclasses.replace(SUITES[0], way=np.int64(3), episodes=np.uint8(7))
    assert (type(suite.way), type(suite.episodes)) == (int, int)
    with pytest.raises(UsageError, match=r"way=2\.5, write a whole number"):
        dataclasses.replace(SUITES[0], way=2.5)


@pytest.mark.parametrize("name", ["a" * 5000, "a.", "con", "NUL.x", "logs", "../x", "a/b", "a\0"])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="suite name") as caught:
        dataclasses.replace(SUITES[0], name=name)
    assert "\n" not in str(caught.value)
