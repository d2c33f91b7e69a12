"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings of each.

Lake, Salakhutdinov & Tenenbaum (2015), Human-level concept learning through probabilistic
program induction, Science 350. It is read from `<data root>/omniglot/`, as the two original
archives or extracted. If it is missing, it is downloaded there through torchvision.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from metabench.data import download
from metabench.data.cache import cached_files
from metabench.data.dataset import Dataset
from metabench.data.declared import DatasetSpec
from metabench.data.images import RESAMPLE, read_grey
from metabench.data.paths import first_existing, unreadable
from metabench.data.splits import Split, load_split
from metabench.errors import DataError, reason
from metabench.files import open_regular, read_file

SPEC: DatasetSpec = {
    "what": (
        "1,623 handwritten characters of 50 alphabets, 20 drawings each, every character in four "
        "rotations that are classes of their own; the split of Vinyals et al."
    ),
    "shape": (1, 28, 28),
    "classes": (4112, 688, 1692),
    "source": "Lake et al. 2015, through torchvision",
    "suites": {
        "omniglot-5w1s": {"way": 5, "shot": 1},
        "omniglot-5w5s": {"way": 5, "shot": 5},
        "omniglot-20w1s": {"way": 20, "shot": 1},
        "omniglot-20w5s": {"way": 20, "shot": 5},
        "omniglot-alphabet-5w1s": {"way": 5, "shot": 1, "protocol": "within-group"},
        "omniglot-alphabet-5w5s": {"way": 5, "shot": 5, "protocol": "within-group"},
        "omniglot-alphabet-20w1s": {"way": 20, "shot": 1, "protocol": "within-group"},
        "omniglot-alphabet-20w5s": {"way": 20, "shot": 5, "protocol": "within-group"},
        "omniglot-1200-5w1s": {"way": 5, "shot": 1, "load": "load_1200"},
        "omniglot-1200-5w5s": {"way": 5, "shot": 5, "load": "load_1200"},
        "omniglot-1200-20w1s": {"way": 20, "shot": 1, "load": "load_1200"},
        "omniglot-1200-20w5s": {"way": 20, "shot": 5, "load": "load_1200"},
        "omniglot-background-5w1s": {"way": 5, "shot": 1, "load": "load_background"},
        "omniglot-background-5w5s": {"way": 5, "shot": 5, "load": "load_background"},
        "omniglot-background-20w1s": {"way": 20, "shot": 1, "load": "load_background"},
        "omniglot-background-20w5s": {"way": 20, "shot": 5, "load": "load_background"},
    },
}

SIZE = 28
DRAWINGS = 20  # of each character
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
ROTATIONS = (0, 90, 180, 270)  # degrees, counter-clockwise

_FOLDER = "omniglot"
_MAX_BYTES = 1 << 20  # bytes of a drawing; they have some 250
_HELP = (
    "put images_background.zip and images_evaluation.zip, from "
    "https://github.com/brendenlake/omniglot/tree/master/python, into {folder}"
)


def load(root: Path) -> Dataset:
    """Load the usual split, with rotations: 4,112 base, 688 validation, 1,692 novel classes.

    Ink is bright, images are 28x28. A class is named "Greek/character07/rot090"; the four
    rotations of a character are classes of their own, and in one split.

    Raises:
        DataError: the data is missing and cannot be downloaded, or is damaged.
    """
    return _load(root, load_split("omniglot-vinyals"))


def load_1200(root: Path) -> Dataset:
    """Load the usual split, base and validation combined: 4,800 base, 1,692 novel classes."""
    return _load(root, load_split("omniglot-1200"))


def load_background(root: Path) -> Dataset:
    """Load the original sets: base is background (3,856 classes), novel is evaluation (2,636)."""
    return _load(root, load_split("omniglot-background"))


def _load(root: Path, split: Split) -> Dataset:
    sources = _sources(root)
    paths = [path for source in sources.values() for path in _files(source)]
    return cached_files(
        root,
        split.name,
        paths,
        root,
        lambda: rotated(read(sources), split),
        size=SIZE,
        split=split.digest,
        rotations=ROTATIONS,
    )


def _sources(root: Path) -> dict[str, Path]:
    """Return the archive or the folder of each set, downloaded if there is neither."""
    folder, sources = root / _FOLDER, {}
    for name in CHARACTERS:
        archive = folder / f"{name}.zip"
        found = first_existing(archive, folder / name)
        if found is None:
            download.download_omniglot(folder, name, _HELP.format(folder=folder))
        sources[name] = found or archive
    return sources


def _files(source: Path) -> list[Path]:
    return sorted(source.rglob("*.png")) if source.is_dir() else [source]


def read(sources: Mapping[str, Path]) -> Dataset:
    """Read archives or folders: classes "alphabet/character" in alphabetical order.

    Raises:
        DataError: one is damaged, or a character or a drawing is missing.
    """
    drawings: dict[str, list[tuple[str, bytes]]] = {}
    for name, source in sources.items():
        found: dict[str, list[tuple[str, bytes]]] = {}
        for path, content in _contents(source):
            parts = Path(path).parts
            if len(parts) != 4 or parts[0] != name:  # a file that an archiver added
                continue
            _, alphabet, character, drawing = parts
            found.setdefault(f"{alphabet}/{character}", []).append((drawing, content))
        if len(found) != CHARACTERS[name]:
            raise DataError(
                f"{source} has {len(found)} characters, expected {CHARACTERS[name]}: "
                + _HELP.format(folder=source.parent)
            )
        drawings |= found
    names = sorted(drawings)
    for name in names:
        if len(drawings[name]) != DRAWINGS:
            raise DataError(
                f"character {name} of Omniglot has {len(drawings[name])} drawings, expected "
                f"{DRAWINGS}: replace the archives"
            )
    images = read_grey(
        ((f"{name}/{file}", content) for name in names for file, content in sorted(drawings[name])),
        SIZE,
        invert=True,
    )
    return Dataset(
        name="omniglot",
        images=images,
        labels=np.repeat(np.arange(len(names)), DRAWINGS),
        classes=tuple(names),
        splits={},
        facts={"resample": RESAMPLE, "invert": "yes"},
    )


def rotated(upright: Dataset, split: Split) -> Dataset:
    """Return four rotated classes for every character, in the split of the character."""
    turns = len(ROTATIONS)
    by_class = upright.images.reshape(-1, 1, DRAWINGS, *upright.shape)
    images = np.concatenate([np.rot90(by_class, k, axes=(-2, -1)) for k in range(turns)], axis=1)
    images = images.reshape(-1, *upright.shape)
    names = [f"{name}/rot{angle:03d}" for name in upright.classes for angle in ROTATIONS]
    splits = split.classes(upright.classes)
    return Dataset(
        name=split.name if split.name != "omniglot-vinyals" else "omniglot",
        images=images,
        labels=np.repeat(np.arange(len(names)), DRAWINGS),
        classes=tuple(names),
        splits={
            name: (ids[:, None] * turns + np.arange(turns)).ravel() for name, ids in splits.items()
        },
        facts={**upright.facts, "split": f"{split.name} {split.digest[:12]}"},
    )


def _contents(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of every image in an archive or a folder."""
    if source.is_dir():
        for file in _files(source):
            try:
                yield file.relative_to(source.parent).as_posix(), read_file(file, _MAX_BYTES)
            except OSError as error:
                raise unreadable(file, error) from error
        return
    try:
        with open_regular(source) as stream, zipfile.ZipFile(stream) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".png"):
                    with archive.open(name) as member:
                        content = member.read(_MAX_BYTES + 1)
                    if len(content) > _MAX_BYTES:
                        raise ValueError(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
                    yield name, content
    # RuntimeError: encrypted, or compressed by an unknown method.
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{source} is damaged ({reason(error)}): remove it, and it will be downloaded again"
        ) from error
