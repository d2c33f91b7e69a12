"""Planted leaks are found, and the built-in suites have none."""

from __future__ import annotations

import dataclasses

import numpy as np
import omniglot_data
import pytest

from metabench.checks.leaks import OF_EPISODES, find_leaks
from metabench.data.dataset import Dataset
from metabench.suites.builtin_suites import SUITES
from metabench.suites.open_suite import OpenSuite
from metabench.suites.suite import Suite

ELSEWHERE = ("omniglot", "mnist")  # their data may be missing


def plain() -> Dataset:
    """Make a dataset of noise: 12 classes of 8 images, 4 classes in each split."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (96, 1, 6, 6), dtype=np.uint8)
    return Dataset(
        name="noise",
        images=images,
        labels=np.arange(12).repeat(8),
        classes=tuple(f"c{k}" for k in range(12)),
        splits={
            "base": np.arange(4),
            "validation": np.arange(4, 8),
            "novel": np.arange(8, 12),
        },
    )


def opened(dataset: Dataset, **manifest: np.ndarray) -> OpenSuite:
    found = Suite("noise", dataset, way=3, shot=2, query=4, episodes=30).open()
    if manifest:
        # `episodes` is a cached property.
        vars(found)["episodes"] = dataclasses.replace(found.episodes, **manifest)
    return found


def planted(change) -> Dataset:
    dataset = plain()
    images = dataset.images.copy()
    change(images)
    return dataclasses.replace(dataset, images=images)


def leaks(suite: OpenSuite) -> dict[str, int]:
    return {leak.check: leak.found for leak in find_leaks(suite) if leak.found}


def test_noise_has_no_leaks() -> None:
    assert leaks(opened(plain())) == {}


def test_an_image_in_two_splits_is_found() -> None:
    def copy(images: np.ndarray) -> None:
        images[90] = images[3]

    found = {leak.check: leak for leak in find_leaks(opened(planted(copy)))}
    leak = found["equal images in two splits"]
    assert (leak.found, leak.examples) == (1, ["base 3 ('c0') equals novel 90 ('c11')"])
    assert leak.advice
    assert found["test examples in the training data"].found == 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotated_copy_is_found(turns: int) -> None:
    def turn(images: np.ndarray) -> None:
        images[90] = np.rot90(images[3], turns, axes=(1, 2))

    assert leaks(opened(planted(turn))) == {"rotated copies in two splits": 1}


@pytest.mark.parametrize(
    "resave", [lambda x: np.clip(x * 0.9, 0, 255), lambda x: np.clip(x // 4 * 4 + 2, 0, 255)]
)
def test_a_picture_saved_with_other_levels_is_found(resave) -> None:
    def near(images: np.ndarray) -> None:
        images[50] = resave(images[90].astype(float)).astype(np.uint8)

    assert leaks(opened(planted(near))) == {"near-identical images in two splits": 1}


def test_one_image_under_two_labels_is_found() -> None:
    def relabel(images: np.ndarray) -> None:
        images[20] = images[3]

    assert leaks(opened(planted(relabel))) == {"equal images in two classes": 1}


def test_a_function_in_two_splits_is_found() -> None:
    points = np.random.default_rng(0).random((96, 1), dtype=np.float32)
    functions = dataclasses.replace(
        plain(), classes=tuple(f"c{k % 8}" for k in range(12)), images=points, targets=2 * points
    )
    suite = Suite("noise", functions, way=1, shot=2, query=4, episodes=4, metric="mse").open()
    assert leaks(suite) == {"classes in two splits": 4}


def test_queries_that_are_in_the_support_set_are_found() -> None:
    suite = opened(plain())
    query = suite.episodes.query.copy()
    query[7, 2] = suite.episodes.support[7, 0]
    found = {leak.check: leak for leak in find_leaks(opened(plain(), query=query))}
    leak = found["queries that are in the support set"]
    assert leak.found == 1
    assert leak.examples[0].startswith("episode 7: query example ")


def has_data(suite: Suite) -> bool:
    return not suite.dataset_name.startswith(ELSEWHERE)


EMBEDDED = list(filter(has_data, SUITES))
DATASETS = {suite.dataset_name: suite for suite in reversed(EMBEDDED)}  # one suite of each


@pytest.mark.slow
@pytest.mark.parametrize("suite", DATASETS.values(), ids=lambda suite: suite.name)
def test_the_embedded_datasets_have_no_leaks(suite: Suite) -> None:
    assert leaks(suite.open()) == {}


@pytest.mark.parametrize(
    "suite", [s for s in EMBEDDED if s not in DATASETS.values()], ids=lambda suite: suite.name
)
def test_the_other_embedded_suites_have_no_leaks_in_their_episodes(suite: Suite) -> None:
    assert not any(leak.found for leak in find_leaks(suite.open(), only=OF_EPISODES))


def test_a_function_value_of_the_training_data_is_found() -> None:
    (suite,) = (s for s in SUITES if s.name == "sinusoid-5s")
    opened = suite.open()
    dataset = opened.dataset
    base = np.flatnonzero(np.isin(dataset.labels, dataset.split("base")))[-1]
    images, targets = np.array(dataset.images), np.array(dataset.targets)
    tested = opened.episodes.query[0, 0]
    images[tested], targets[tested] = images[base], targets[base]
    assert opened.material is not None  # of the data before the change
    vars(opened)["dataset"] = dataclasses.replace(dataset, images=images, targets=targets)
    (found,) = find_leaks(opened, only=["test examples in the training data"])
    assert (found.found, found.examples[0].startswith(f"example {tested}, ")) == (1, True)


@pytest.mark.slow
@omniglot_data.needs_omniglot
@pytest.mark.parametrize("name", ["omniglot-5w1s"])
def test_omniglot_has_no_leaks(name: str) -> None:
    (suite,) = (s for s in SUITES if s.name == name)
    assert leaks(suite.open(omniglot_data.ROOT)) == {}


@pytest.mark.slow
@omniglot_data.needs_omniglot
def test_no_omniglot_suite_has_leaks_in_its_episodes() -> None:
    for suite in (s for s in SUITES if s.dataset_name.startswith("omniglot")):
        found = find_leaks(suite.open(omniglot_data.ROOT), only=OF_EPISODES)
        assert [leak.found for leak in found] == [0, 0], suite.name
