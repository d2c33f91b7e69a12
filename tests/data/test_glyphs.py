"""The glyphs dataset is the shipped one, and fit for few-shot episodes."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import sys

import numpy as np
import pytest

from metabench.data import glyphs
from metabench.data.dataset import SPLITS, pixels_digest
from metabench.errors import DataError

SCRIPTS = {
    "base": {"LATIN", "CYRILLIC", "CANADIAN"},
    "validation": {"HEBREW", "LAO"},
    "novel": {"GREEK", "GEORGIAN", "ARMENIAN"},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return glyphs.load(tmp_path_factory.mktemp("data"))


def test_the_shipped_file_is_the_recorded_one():
    content = lzma.decompress(glyphs.FILE.read_bytes())
    assert hashlib.sha256(content).hexdigest() == glyphs.SHA256
    assert glyphs.FILE.stat().st_size < 2_000_000


def test_glyphs_are_the_frozen_ones(dataset):
    assert dataset.pixels == pixels_digest(dataset.images)
    assert dataset.pixels == "533551131e99b705df5e98e59b7491c61a369af04d601d7a8b83f58931dc215d"
    assert dataset.content == "6df9c88ecd9ff5242367bdd74901691048738df867cfd2f06949a5e07a773a8b"


def test_there_are_enough_classes_and_images(dataset):
    assert dataset.name == "glyphs"
    assert dataset.images.shape == (14440, 1, 28, 28)
    assert {len(images) for images in dataset.images_of} == {20}
    assert [len(dataset.split(split)) for split in SPLITS] == [474, 45, 203]


def test_splits_differ_in_script(dataset):
    for split, scripts in SCRIPTS.items():
        found = {dataset.classes[c].partition("/")[0] for c in dataset.split(split)}
        assert found == scripts


def test_class_names_are_unique_script_and_letter(dataset):
    assert len(set(dataset.classes)) == len(dataset.classes) == 722
    assert "GREEK/SMALL LETTER XI" in dataset.classes


def test_no_image_is_blank_cut_off_or_a_copy(dataset):
    assert dataset.images.sum(axis=(1, 2, 3)).min() > 10 * 255
    assert (dataset.images > 0).mean(axis=(1, 2, 3)).max() < 0.5
    assert len({image.tobytes() for image in dataset.images}) == len(dataset.images)
    edges = [dataset.images[..., 0], dataset.images[..., -1]]
    edges += [dataset.images[..., 0, :], dataset.images[..., -1, :]]
    # Ink may reach the outermost pixels, but no stroke runs on beyond them.
    assert max(edge.max() for edge in edges) <= 255 // 2 + 1


def test_ink_is_bright_in_sixteen_levels(dataset):
    assert np.unique(dataset.images).tolist() == list(range(0, 256, 17))
    assert np.median(dataset.images) == 0


def test_classes_of_a_split_have_no_glyph_in_common(dataset):
    means = dataset.images.reshape(722, 20, -1).mean(axis=1)
    assert len(np.unique(means.round(6), axis=0)) == 722


def nearest_prototype_accuracy(dataset, way, shot, episodes=300, query=15):
    """Accuracy of the nearest mean of pixels, on novel classes."""
    rng = np.random.default_rng(0)
    images = dataset.images.reshape(722, 20, -1)[dataset.split("novel")] / 255
    right = 0.0
    for _ in range(episodes):
        chosen = images[rng.permutation(len(images))[:way]]
        chosen = chosen[np.arange(way)[:, None], [rng.permutation(20) for _ in range(way)]]
        prototypes = chosen[:, :shot].mean(axis=1)
        queries = chosen[:, shot : shot + query].reshape(-1, prototypes.shape[1])
        distances = (prototypes**2).sum(axis=1) - 2 * queries @ prototypes.T
        right += np.mean(distances.argmin(axis=1) == np.repeat(np.arange(way), query))
    return right / episodes


@pytest.mark.parametrize(
    ("way", "shot", "expected"), [(5, 1, 0.278), (5, 5, 0.395), (20, 1, 0.102), (20, 5, 0.174)]
)
def test_pixels_alone_are_neither_hopeless_nor_enough(dataset, way, shot, expected):
    assert nearest_prototype_accuracy(dataset, way, shot) == pytest.approx(expected, abs=0.02)


def test_cached_glyphs_need_no_fonts_and_no_torch(tmp_path):
    program = (
        "import sys; from pathlib import Path; from metabench.data import glyphs; "
        f"glyphs.load(Path({str(tmp_path)!r})); "
        "print([m for m in ('matplotlib', 'fontTools', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def other_content(data: bytes) -> bytes:
    return lzma.compress(b"other")


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: b"", other_content])
def test_a_damaged_file_in_the_package_is_named(tmp_path, monkeypatch, damage):
    broken = tmp_path / "glyphs.xz"
    broken.write_bytes(damage(glyphs.FILE.read_bytes()))
    monkeypatch.setattr(glyphs, "FILE", broken)
    with pytest.raises(DataError, match=r"glyphs\.xz.*install metabench again"):
        glyphs.load(tmp_path)
