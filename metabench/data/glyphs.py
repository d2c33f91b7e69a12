"""Characters of many scripts, rendered from fonts and warped; shipped with the package.

`tools/glyphs/make_glyphs.py` makes the file. Splits differ in script, and no character looks like
one of another split.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import numpy as np

from metabench.data.cache import cached
from metabench.data.dataset import SPLITS, Dataset
from metabench.data.declared import DatasetSpec
from metabench.errors import DataError

SPEC: DatasetSpec = {
    "what": (
        "722 characters of eight scripts, 20 warped images each; Latin, Cyrillic and Canadian "
        "syllabics are base, Hebrew and Lao validation, Greek, Georgian and Armenian novel"
    ),
    "shape": (1, 28, 28),
    "classes": (474, 45, 203),
    "source": "rendered from the fonts that come with matplotlib",
    "suites": {
        "glyphs-5w1s": {"way": 5, "shot": 1},
        "glyphs-5w5s": {"way": 5, "shot": 5},
        "glyphs-20w1s": {"way": 20, "shot": 1},
        "glyphs-20w5s": {"way": 20, "shot": 5},
    },
}

FILE = Path(__file__).with_name("glyphs.xz")
SHA256 = "4924182796a08f35fd3bc5714994c3a9a67afee826555bd2079f20db826f5cad"


def load(root: Path) -> Dataset:
    """Load 722 characters with 20 images of 28x28 each.

    Base: Latin, Cyrillic, Canadian syllabics. Validation: Hebrew, Lao. Novel: Greek,
    Georgian, Armenian. A class is named by script and letter, as in "GREEK/SMALL LETTER XI".

    Raises:
        DataError: the file in the package is damaged.
    """
    return cached(root, "glyphs", SHA256, lambda: decode(_content()))


def _content() -> bytes:
    try:
        content = lzma.decompress(FILE.read_bytes())
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"cannot read {FILE} ({error}): install metabench again") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{FILE} is not the file that was shipped: install metabench again")
    return content


def decode(content: bytes) -> Dataset:
    """Decode the output of `make_glyphs.encode`: a line of JSON, then 4-bit pixels."""
    line, _, body = content.partition(b"\n")
    header = json.loads(line)
    packed = np.frombuffer(body, dtype=np.uint8)
    levels = np.stack([packed >> 4, packed & 15], axis=1)
    images = (levels * np.uint8(17)).reshape(-1, 1, header["size"], header["size"])
    counts = [header["splits"][split] for split in SPLITS]
    ids = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    return Dataset(
        name="glyphs",
        images=images,
        labels=np.repeat(np.arange(sum(counts)), header["images"]),
        classes=tuple(header["classes"]),
        splits=dict(zip(SPLITS, ids, strict=True)),
        facts=header["facts"],
    )
