"""Characters that look alike, and a choice among them that keeps splits apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tools.glyphs.letterforms import Character, draw

Similarity = npt.NDArray[np.float32]

_BOX, _CANVAS, _BLUR = 28, 32, 0.8
_SHIFTS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def similarity(characters: Sequence[Character]) -> Similarity:
    """Return the largest similarity of every two characters.

    Both are drawn in the same face, centred, scaled to the same longer side and slightly
    blurred; compared by the correlation of their pixels, the highest over small shifts and
    over all faces that have both.

    Returns:
        [N, N] symmetric; 1 is identical, 0 on the diagonal and where no face has both.
    """
    alike = np.zeros((len(characters), len(characters)), dtype=np.float32)
    for face in sorted({face for character in characters for face in character.faces}):
        have = [i for i, character in enumerate(characters) if face in character.faces]
        among = _in_one_face([characters[i].char for i in have], face)
        block = np.ix_(have, have)
        alike[block] = np.maximum(alike[block], among)
    np.fill_diagonal(alike, 0)
    return alike


def _in_one_face(chars: Sequence[str], face: str) -> Similarity:
    drawn = np.stack([draw(char, face, _BOX, _CANVAS) for char in chars]).astype(np.float32)
    soft = ndimage.gaussian_filter(drawn, (0, _BLUR, _BLUR))
    still = _standardised(soft)
    moved = (_standardised(np.roll(soft, shift, axis=(1, 2))) for shift in _SHIFTS)
    best: Similarity = np.max([still @ other.T for other in moved], axis=0)
    return np.maximum(best, best.T)


def _standardised(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return images [N, H * W] with mean 0 and length 1, so that a product is a correlation."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit


def choose(
    alike: Similarity, splits: Mapping[str, Sequence[int]], across: float, within: float
) -> dict[str, list[int]]:
    """Drop characters until none looks like one of another split.

    Characters are taken split by split, in the order given; one that looks like a character
    taken before is dropped.

    Args:
        alike: [N, N] from `similarity`.
        splits: the candidates of each split, those to be spared first.
        across: least similarity that counts as alike between splits.
        within: the same inside a split, where two names for one shape would be label noise.
    """
    chosen: dict[str, list[int]] = {}
    for split, candidates in splits.items():
        others = [i for kept in chosen.values() for i in kept]
        mine = chosen[split] = []
        for i in candidates:
            if np.all(alike[i, others] < across) and np.all(alike[i, mine] < within):
                mine.append(i)
    return chosen
