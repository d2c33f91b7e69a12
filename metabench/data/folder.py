"""Datasets made from images in class folders, one or two levels deep."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metabench.data.autosplit import split_classes
from metabench.data.cache import cached_files, slug
from metabench.data.dataset import SPLITS, Dataset, Indices
from metabench.data.images import RESAMPLE, SUFFIXES, read_images
from metabench.errors import DataError

_SPLIT_FOLDERS: tuple[Mapping[str, str], ...] = (
    {"base": "base", "validation": "validation", "novel": "novel"},
    {"train": "base", "val": "validation", "test": "novel"},
)


_LIKE_SPLITS = {
    **{name: "base" for name in ("base", "train", "training", "meta-train")},
    **{name: "validation" for name in ("validation", "valid", "val", "dev", "meta-val")},
    **{name: "novel" for name in ("novel", "test", "testing", "meta-test")},
}


class _Class(NamedTuple):
    name: str
    split: str  # from its split folder, otherwise ""
    files: list[Path]


def load(
    path: str | Path,
    root: Path,
    size: int | None = 28,
    split: str = "auto",
    invert: bool = False,
) -> Dataset:
    """Load images from `class/*.png`, or from `alphabet/character/*.png`.

    Folders named base, validation and novel (or train, val and test) at the top are the
    splits; the last of the three must exist. Files that are not images are skipped.

    Args:
        path: the folder.
        root: the data root; resized images are kept there.
        size: images are resized to size x size; None keeps their size.
        split: the rule of `autosplit.split_classes` if there are no split folders; "novel"
            always makes every class novel.
        invert: make dark bright, for dark ink on light paper.

    Raises:
        DataError: there is no such folder, it has no images, a class has no images, classes lie
            at different depths, a class is in two splits, or an image cannot be read.
        UsageError: there is no such `split`.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_dir():
        raise DataError(f"no folder {path}: name one that holds a folder of images per class")
    classes = _classes(path)
    names = tuple(part.name for part in classes)
    splits = split_classes(names, split)
    if split == "auto" and any(part.split for part in classes):
        splits = {wanted: _of_split(wanted, classes) for wanted in SPLITS}
    files = [file for part in classes for file in part.files]
    name = f"folder-{slug(path.name)}"

    def make() -> Dataset:
        images = read_images(files, size, invert)
        return Dataset(
            name=name,
            images=images,
            labels=np.repeat(np.arange(len(classes)), [len(part.files) for part in classes]),
            classes=names,
            splits=splits,
            facts={
                "resample": "none" if size is None else RESAMPLE,
                "invert": "yes" if invert else "no",
            },
        )

    params = {"size": size, "split": split, "invert": invert}
    return cached_files(root, name, files, path, make, place=str(path), **params)


def _of_split(split: str, classes: list[_Class]) -> Indices:
    return np.array([i for i, part in enumerate(classes) if part.split == split], dtype=np.int64)


def _classes(path: Path) -> list[_Class]:
    """Return every class with its images, sorted by name."""
    classes: dict[str, _Class] = {}
    spelt: dict[str, _Class] = {}
    depths: dict[int, Path] = {}
    for split, part in _parts(path):
        for folder, files in _leaves(part):
            inside = folder.relative_to(part)
            depths.setdefault(len(inside.parts), folder)
            found = _Class(inside.as_posix(), split, files)
            # Names that differ only in case are one class: copying may have changed the case.
            other = spelt.setdefault(found.name.casefold(), found)
            if other.split != split:
                raise DataError(
                    f"class {found.name} of {path} is in both {other.split} and {split}: splits "
                    "must hold different classes"
                )
            classes[found.name] = found
    if not any(found.files for found in classes.values()) or depths.keys() == {0}:
        raise DataError(f"no images in folders of {path}: give each class a folder of its own")
    for found in classes.values():
        if not found.files:
            raise DataError(f"class {found.name} of {path} has no images: add some or remove it")
    if depths.keys() not in ({1}, {2}):
        where = " and ".join(str(folder) for folder in depths.values())
        raise DataError(
            f"images lie at depths that do not fit, in {where}: "
            f"use {path.name}/class/image or {path.name}/alphabet/character/image throughout"
        )
    return [classes[name] for name in sorted(classes)]


def _parts(path: Path) -> list[tuple[str, Path]]:
    """Return the split folders, or the folder itself, which has no split."""
    folders, _ = _list(path)
    present = {folder.name for folder in folders}
    for names in _SPLIT_FOLDERS:
        if present <= names.keys() and present & {"novel", "test"}:
            return [(names[folder.name], folder) for folder in folders]
    alike = [folder for folder in folders if folder.name.casefold() in _LIKE_SPLITS]
    kinds = {_LIKE_SPLITS[folder.name.casefold()] for folder in alike}
    if len(kinds) > 1 and "novel" in kinds and all(_list(folder)[0] for folder in alike):
        raise DataError(
            f"folders {', '.join(sorted(present))} of {path} look like splits, which are called "
            "base, validation and novel (or train, val and test) and have no others beside them: "
            "rename or move some"
        )
    return [("", path)]


def _leaves(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield folders that hold images or nothing, each with its images."""
    folders, images = _list(folder)
    if images or not folders:
        yield folder, images
    for inner in folders:
        yield from _leaves(inner)


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and images in a folder, sorted by name; hidden ones are skipped."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    entries = [e for e in entries if not e.name.startswith((".", "__MACOSX"))]
    return (
        [folder / e.name for e in entries if e.is_dir()],
        [folder / e.name for e in entries if Path(e.name).suffix.lower() in SUFFIXES],
    )
