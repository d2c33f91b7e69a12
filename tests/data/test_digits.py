"""The digits of scikit-learn, as a dataset."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from sklearn.datasets import load_digits

from metabench.data import digits
from metabench.data.dataset import pixels_digest


def test_digits_are_those_of_scikit_learn(tmp_path):
    dataset = digits.load(tmp_path)
    source = load_digits()
    assert dataset.images.shape == (1797, 1, 8, 8)
    assert dataset.images.dtype == np.uint8
    assert (dataset.images.min(), dataset.images.max()) == (0, 255)
    assert np.array_equal(np.rint(dataset.images[:, 0] * (16 / 255)), source.images)
    assert np.array_equal(dataset.labels, source.target)


def test_digits_are_the_frozen_ones(tmp_path):
    dataset = digits.load(tmp_path)
    assert dataset.pixels == pixels_digest(dataset.images)
    assert dataset.pixels == "b41ca9fd335466eee997366c2e6f6bbe0a1b4582afe091fc4eba35f4a254182f"
    assert dataset.content == "40974de07bd4930bbf662ef28f03df206edf5f944309303babd40d5941e22cd8"


def test_the_upper_half_of_the_digits_is_novel(tmp_path):
    dataset = digits.load(tmp_path)
    assert dataset.name == "digits"
    assert dataset.classes == tuple("0123456789")
    assert dataset.split("base").tolist() == [0, 1, 2, 3, 4]
    assert dataset.split("validation").tolist() == []
    assert dataset.split("novel").tolist() == [5, 6, 7, 8, 9]
    assert min(len(images) for images in dataset.images_of) == 174


def test_cached_digits_need_no_scikit_learn(tmp_path):
    digits.load(tmp_path)
    program = (
        "import sys; from pathlib import Path; from metabench.data import digits; "
        f"digits.load(Path({str(tmp_path)!r})); "
        "print([m for m in ('sklearn', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
