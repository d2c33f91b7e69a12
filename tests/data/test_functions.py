"""Families of sinusoids as datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metabench.data import sinusoid, sinusoid_freq
from metabench.data.dataset import SPLITS, Dataset
from metabench.data.functions import FUNCTIONS, POINTS, draw_family

NOWHERE = Path("nowhere")  # neither reads nor writes
LOADERS = {"sinusoid": sinusoid.load, "sinusoid-freq": sinusoid_freq.load}
every_family = pytest.mark.parametrize("name", list(LOADERS))


@pytest.fixture(scope="module")
def load() -> Callable[[str], Dataset]:
    made: dict[str, Dataset] = {}

    def once(name: str) -> Dataset:
        if name not in made:
            made[name] = LOADERS[name](NOWHERE)
        return made[name]

    return once


def parameters(dataset: Dataset) -> dict[str, np.ndarray]:
    """Every function's parameters, read off its name."""
    rows = [dict(part.split("=") for part in name.split(", ")) for name in dataset.classes]
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


@every_family
def test_shapes_types_and_splits(name: str, load: Callable[[str], Dataset]) -> None:
    dataset, functions = load(name), sum(FUNCTIONS.values())
    assert dataset.name == name
    assert dataset.shape == (1,)
    assert dataset.images.shape == (functions * POINTS, 1)
    assert dataset.targets is not None
    assert dataset.targets.shape == dataset.images.shape
    assert dataset.images.dtype == dataset.targets.dtype == np.float32
    assert {split: len(dataset.split(split)) for split in SPLITS} == FUNCTIONS
    assert {len(points) for points in dataset.images_of} == {POINTS}


@every_family
def test_values_are_those_of_the_function_named(name: str, load: Callable[[str], Dataset]) -> None:
    dataset = load(name)
    p = {key: value[dataset.labels] for key, value in parameters(dataset).items()}
    x = dataset.images[:, 0].astype(np.float64)
    if name == "sinusoid":
        expected = p["amplitude"] * np.sin(x - p["phase"])
    else:
        expected = p["amplitude"] * np.sin(p["frequency"] * x + p["phase"])
    assert dataset.targets is not None
    assert np.abs(dataset.targets[:, 0] - expected).max() < 1e-4  # names have six digits


@every_family
def test_parameters_and_points_are_uniform_over_the_published_ranges(
    name: str, load: Callable[[str], Dataset]
) -> None:
    dataset = load(name)
    ranges = {"amplitude": (0.1, 5.0), "phase": (0.0, np.pi)}
    if name == "sinusoid-freq":
        ranges["frequency"] = (0.8, 1.2)
    found = parameters(dataset)
    assert found.keys() == ranges.keys()
    for values, (low, high) in [
        *((found[key], ranges[key]) for key in ranges),
        (dataset.images[:, 0], (-5.0, 5.0)),
    ]:
        assert low <= values.min() < values.max() <= high
        deciles = np.quantile((values - low) / (high - low), np.arange(0, 1.01, 0.1))
        assert np.abs(deciles - np.arange(0, 1.01, 0.1)).max() < 0.015


def test_all_functions_are_different(load: Callable[[str], Dataset]) -> None:
    names = [*load("sinusoid").classes, *load("sinusoid-freq").classes]
    assert len(set(names)) == len(names)


def test_a_family_is_the_same_whenever_it_is_drawn() -> None:
    def draw(name: str) -> Dataset:
        return draw_family(name, lambda x, a: a * x, {"a": (0.0, 1.0)}, (0.0, 1.0))

    one, two, other = draw("line"), draw("line"), draw("other")
    assert (one.pixels, one.content) == (two.pixels, two.content)
    assert one.pixels != other.pixels
