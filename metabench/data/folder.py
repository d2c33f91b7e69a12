"""Datasets made from images in class folders, one or two levels deep."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metabench.data.autosplit import split_classes
from metabench.data.cache import cached_files, slug
from metabench.data.dataset import SPLITS, Dataset
from metabench.data.images import SUFFIXES, Reading, read_images
from metabench.data.paths import absolute, check_name, list_folder, unreadable
from metabench.errors import DataError
from metabench.text import folded

_ENDINGS = 5  # of files that are not images, in a message

_log = logging.getLogger(__name__)

_SPLIT_FOLDERS: tuple[Mapping[str, str], ...] = (
    {"base": "base", "validation": "validation", "novel": "novel"},
    {"train": "base", "val": "validation", "test": "novel"},
)


_LIKE_SPLITS = {
    **{name: "base" for name in ("base", "train", "training", "meta-train")},
    **{name: "validation" for name in ("validation", "valid", "val", "dev", "meta-val")},
    **{name: "novel" for name in ("novel", "test", "testing", "meta-test")},
}


class _Listing(NamedTuple):
    folders: list[Path]
    images: list[Path]
    others: list[Path]  # files that are not images


class _Class(NamedTuple):
    name: str
    split: str  # from its split folder, otherwise ""
    found: _Listing


def load(
    path: str | Path,
    root: Path,
    reading: Reading,
    split: str = "auto",
) -> Dataset:
    """Load images from `class/*.png`, or from `alphabet/character/*.png`.

    Folders named base, validation and novel (or train, val and test) at the top are the
    splits; the last of the three must exist. Files that are not images are skipped.

    Args:
        path: the folder.
        root: the data root; resized images are kept there.
        reading: how images become pixels.
        split: the rule of `autosplit.split_classes` if there are no split folders; "novel"
            always makes every class novel.

    Raises:
        DataError: there is no such folder, it has no images, a class has no images, classes lie
            at different depths, a class is in two splits, or an image cannot be read.
        UsageError: there is no such `split`.
    """
    path = absolute(path)
    if not path.is_dir():
        raise DataError(
            f"there is no folder {path}: name a folder with one subfolder of images per class"
        )
    path = path.resolve()
    classes = _classes(path)
    names = tuple(part.name for part in classes)
    splits = split_classes(names, split)
    if split == "auto" and any(part.split for part in classes):
        split = "folders"
        of = np.array([part.split for part in classes])
        splits = {wanted: np.flatnonzero(of == wanted) for wanted in SPLITS}
    files = [file for part in classes for file in part.found.images]
    others = [file for part in classes for file in part.found.others]
    if others:
        _log.warning(
            "folder %s: %d files in class folders are not read as images: %s",
            path,
            len(others),
            _endings(others),
        )
    name = f"folder-{slug(path.name)}"

    def make() -> Dataset:
        images = read_images(files, reading)
        return Dataset(
            name=name,
            images=images,
            labels=np.repeat(np.arange(len(classes)), [len(part.found.images) for part in classes]),
            classes=names,
            splits=splits,
            facts={**reading.facts, "split": split},
        )

    return cached_files(root, name, files, path, make, place=str(path), split=split, **reading.key)


def _classes(path: Path) -> list[_Class]:
    """Return every class with its images, sorted by name."""
    classes: dict[str, _Class] = {}
    by_folded_name: dict[str, str] = {}
    depths: dict[int, Path] = {}
    for split, part in _parts(path):
        for folder, listing in _leaves(part):
            inside = folder.relative_to(part)
            depths.setdefault(len(inside.parts), folder)
            name = inside.as_posix()
            # Copying may have changed the case, or the form of characters.
            other = by_folded_name.setdefault(folded(name), split)
            if other != split:
                raise DataError(
                    f"class {name} of {path} is in both {other} and {split}: splits must hold "
                    "different classes"
                )
            classes[name] = _Class(name, split, listing)
    if not any(part.found.images for part in classes.values()) or depths.keys() == {0}:
        raise DataError(f"no images in folders of {path}: give each class a folder of its own")
    for name, _, found in classes.values():
        if not found.images:
            only = f" (but files of other kinds: {_endings(found.others)})" if found.others else ""
            raise DataError(f"class {name} of {path} has no images{only}: add some or remove it")
    if depths.keys() not in ({1}, {2}):
        where = " and ".join(str(folder) for folder in depths.values())
        raise DataError(
            f"images are at different depths, in {where}: "
            f"use {path.name}/class/image or {path.name}/alphabet/character/image throughout"
        )
    return [classes[name] for name in sorted(classes)]


def _parts(path: Path) -> list[tuple[str, Path]]:
    """Return the split folders, or the folder itself, which has no split."""
    folders = _list(path).folders
    present = {folder.name for folder in folders}
    for names in _SPLIT_FOLDERS:
        if present <= names.keys() and present & {"novel", "test"}:
            return [(names[folder.name], folder) for folder in folders]
    alike = [folder for folder in folders if folded(folder.name) in _LIKE_SPLITS]
    kinds = {_LIKE_SPLITS[folded(folder.name)] for folder in alike}
    if len(kinds) > 1 and "novel" in kinds and all(_list(folder).folders for folder in alike):
        raise DataError(
            f"folders {', '.join(sorted(present))} of {path} look like splits: name them "
            "base, validation and novel (or train, val and test), and move other folders elsewhere"
        )
    return [("", path)]


def _leaves(folder: Path, outer: tuple[Path, ...] = ()) -> Iterator[tuple[Path, _Listing]]:
    """Yield the folders that hold images or nothing, each with its listing.

    Raises:
        DataError: a folder cannot be read, or is a link to one of those around it.
    """
    if folder.resolve() in outer:
        raise DataError(f"{folder} is a link to a folder that contains it: remove the link")
    listing = _list(folder)
    if listing.images or not listing.folders:
        yield folder, listing
    for inner in listing.folders:
        yield from _leaves(inner, (*outer, folder.resolve()))


def _list(folder: Path) -> _Listing:
    """List the entries of a folder by name.

    Raises:
        DataError: an entry cannot be read, has a name that is not UTF-8, or is named as an image
            and is not a file.
    """
    listing = _Listing([], [], [])
    for entry in list_folder(folder):
        path = folder / entry.name
        is_image = path.suffix.lower() in SUFFIXES
        try:
            if entry.is_dir():
                check_name(path)
                listing.folders.append(path)
            elif not is_image:
                listing.others.append(path)
            elif entry.is_file():
                check_name(path)
                listing.images.append(path)
            else:
                raise DataError(f"{path} is named as an image but is not a file: remove it")
        except OSError as error:
            raise unreadable(path, error) from error
    return listing


def _endings(files: list[Path]) -> str:
    """Count files by the endings of their names."""
    counts = Counter(file.suffix.lower() or "without ending" for file in files)
    return ", ".join(f"{count:,} {ending}" for ending, count in counts.most_common(_ENDINGS))
