"""Make the glyphs dataset: `python -m tools.glyphs.make_glyphs OUT`.

Every class is a letter of some script; its images are drawn in the faces of the fonts that
matplotlib ships, one face after the other, each with its own random affine and elastic
warp. The file says in its first line what it holds; 4-bit pixels follow, two in a byte.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from metabench.data.dataset import SPLITS
from tools.glyphs.letterforms import FACES, Character, characters, draw
from tools.glyphs.similar_glyphs import choose, similarity

# Splits differ in script. The first is spared most when look-alikes are dropped.
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "novel": ("GREEK", "GEORGIAN", "ARMENIAN"),
    "validation": ("HEBREW", "LAO"),
    "base": ("LATIN", "CYRILLIC", "CANADIAN"),
}
LEAST_FACES = 4
ALIKE_ACROSS = 0.88
ALIKE_WITHIN = 0.92

SIZE = 28
IMAGES = 20
LEVELS = 16

_SEED = 1
_SHEET = 4 * SIZE  # warped at four times the resolution, then averaged
_BOX = 64
_ROTATION, _SCALE, _SHEAR = 0.2, 0.2, 0.3  # standard deviations: radians, log, slope
_SHIFT, _ELASTIC = 7.0, 4.5  # sheet pixels
_KNOTS = 5
_CENTRE = (_SHEET - 1) / 2
_GRID = np.stack(np.meshgrid(*2 * [np.arange(_SHEET) - _CENTRE], indexing="ij"))
_SMOOTH = ndimage.zoom(np.eye(_KNOTS), (_SHEET / _KNOTS, 1), order=3)

Floats = npt.NDArray[np.float64]


def chosen_characters() -> dict[str, list[Character]]:
    """Return the classes of each split, in the usual order of splits, without look-alikes."""
    found = list(characters(sum(SCRIPTS.values(), ()), LEAST_FACES))
    candidates = {
        split: [i for i, character in enumerate(found) if character.script in scripts]
        for split, scripts in SCRIPTS.items()
    }
    kept = choose(similarity(found), candidates, ALIKE_ACROSS, ALIKE_WITHIN)
    return {split: [found[i] for i in kept[split]] for split in SPLITS}


def draw_class(character: Character) -> npt.NDArray[np.uint8]:
    """Draw the images of one class, which do not depend on other classes.

    Returns:
        [IMAGES, SIZE, SIZE] uint8 in 0..LEVELS-1.
    """
    rng = np.random.default_rng([_SEED, ord(character.char)])
    images = np.empty((IMAGES, SIZE, SIZE), dtype=np.uint8)
    for i in range(IMAGES):
        face = character.faces[i % len(character.faces)]
        sheet = draw(character.char, face, _BOX, _SHEET).astype(np.float64)
        images[i] = np.rint(_warp(sheet, rng) * ((LEVELS - 1) / 255))
    return images


def _warp(sheet: Floats, rng: np.random.Generator) -> Floats:
    """Warp a sheet at random to [SIZE, SIZE] in 0..255, until no ink touches the sheet's edge."""
    while True:
        angle, shear = rng.normal(0, (_ROTATION, _SHEAR))
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        shape = np.array([[1, 0], [shear, 1]]) @ np.diag(np.exp(rng.normal(0, _SCALE, 2)))
        shift = rng.normal(0, _SHIFT, (2, 1, 1))
        knots = rng.normal(0, _ELASTIC, (2, _KNOTS, _KNOTS))
        bend = _SMOOTH @ knots @ _SMOOTH.T
        source = np.tensordot(rotation @ shape, _GRID - shift, axes=1) + bend + _CENTRE
        warped: Floats = ndimage.map_coordinates(sheet, source, order=1)
        edge = (warped[:2], warped[-2:], warped[:, :2], warped[:, -2:])
        if not any(part.any() for part in edge):
            image: Floats = warped.reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3))
            return image


def encode(classes: Mapping[str, Sequence[Character]]) -> bytes:
    """Return the uncompressed content of the file: one line of JSON, then packed pixels."""
    every = [character for part in classes.values() for character in part]
    header = {
        "classes": [character.name for character in every],
        "splits": {split: len(part) for split, part in classes.items()},
        "images": IMAGES,
        "size": SIZE,
        "facts": {"resample": "box", "faces": str(len(FACES)), "grey levels": str(LEVELS)},
    }
    pixels = np.concatenate([draw_class(character).ravel() for character in every])
    packed = pixels[0::2] << 4 | pixels[1::2]
    return b"\n".join((json.dumps(header).encode(), packed.tobytes()))


def main(out: str) -> None:
    """Write the file and print the digest that `glyphs.py` records."""
    classes = chosen_characters()
    content = encode(classes)
    Path(out).write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    print(*(f"{split}: {len(part)} classes" for split, part in classes.items()), sep=", ")
    print(f"SHA-256 {hashlib.sha256(content).hexdigest()}, {Path(out).stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.glyphs.make_glyphs OUT")
    main(sys.argv[1])
