"""Characters in matplotlib's fonts: the faces that have them, and one clean rendering each."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

_DEJAVU = ("Sans", "SansMono", "Serif")
_SLANTS = {"Serif": ("", "-Bold", "-Italic", "-BoldItalic")}
_FACES = (
    *(
        f"DejaVu{family}{slant}"
        for family in _DEJAVU
        for slant in _SLANTS.get(family, ("", "-Bold", "-Oblique", "-BoldOblique"))
    ),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)
# Computer Modern's character maps can be trusted for plain letters only.
_PLAIN_FACES = ("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10")
_PLAIN = frozenset(map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))

FACES = _FACES + _PLAIN_FACES
COMMON_FACE = _FACES[0]
_FONT_SIZE = 96


class Character(NamedTuple):
    """A letter and the faces that have it.

    Attributes:
        char: the letter itself.
        script: first word of its Unicode name, "LATIN".
        faces: names of the faces that have a glyph for it.
    """

    char: str
    script: str
    faces: tuple[str, ...]

    @property
    def name(self) -> str:
        """Script and letter, "LATIN/SMALL LETTER A"; unique."""
        return unicodedata.name(self.char).replace(" ", "/", 1)


def characters(scripts: tuple[str, ...], least_faces: int) -> Iterator[Character]:
    """Return the letters of some scripts that at least so many faces have, by code point.

    All of them are in `COMMON_FACE`, so that any two can be compared. Letters with a
    decomposition are left out: they are others with an accent, or styled.
    """
    coverage = {face: _PLAIN for face in _PLAIN_FACES}
    coverage |= {face: frozenset(TTFont(_path(face)).getBestCmap()) for face in _FACES}
    for point in sorted(coverage[COMMON_FACE]):
        char = chr(point)
        script = unicodedata.name(char, "").partition(" ")[0]
        if script not in scripts or unicodedata.category(char) not in ("Lu", "Ll", "Lo"):
            continue
        faces = tuple(face for face in FACES if point in coverage[face])
        if len(faces) >= least_faces and not unicodedata.decomposition(char):
            yield Character(char, script, faces)


def draw(char: str, face: str, box: int, canvas: int) -> npt.NDArray[np.uint8]:
    """Render one character without variation, centred, its longer side `box` pixels.

    Returns:
        [canvas, canvas] uint8, ink = 255.
    """
    font = _font(face)
    left, top, right, bottom = font.getbbox(char)
    # A margin, because ink may stand outside the box that the font declares.
    sheet = Image.new("L", (int(right - left) + 32, int(bottom - top) + 32))
    ImageDraw.Draw(sheet).text((16 - left, 16 - top), char, fill=255, font=font)
    ink = sheet.getbbox()
    if ink is None:
        raise ValueError(f"{face} draws nothing for U+{ord(char):04X}")
    glyph = sheet.crop(ink)
    scale = box / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    image = Image.new("L", (canvas, canvas))
    resized = glyph.resize((width, height), Image.Resampling.BOX)
    image.paste(resized, ((canvas - width) // 2, (canvas - height) // 2))
    return np.asarray(image)


@cache
def _font(face: str) -> ImageFont.FreeTypeFont:
    # The basic layout, because the other one depends on a library that may be missing.
    return ImageFont.truetype(_path(face), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _path(face: str) -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")
