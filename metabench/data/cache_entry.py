"""One dataset in a folder: its images as an array that is memory-mapped, and a file of the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from metabench.data.dataset import Dataset, pixels_digest
from metabench.data.sealed import seal, unseal
from metabench.errors import reason
from metabench.files import read_file, write_atomically
from metabench.leftovers import temporary_name

_IMAGES, _FACTS = "images.npy", "dataset.json"
_TRIES = 5


class DamagedEntry(Exception):
    """An entry that cannot be used; the message is one line."""


def read(folder: Path, key: str) -> Dataset:
    """Open an entry. All of it is compared with the digests that it was written with.

    Raises:
        DamagedEntry: it cannot be read, has changed, or has another key.
    """
    try:
        return _read(folder, key)
    except Exception as error:  # damaged files raise errors of many types
        raise DamagedEntry(reason(error)) from error


def _read(folder: Path, key: str) -> Dataset:
    facts = unseal(read_file(folder / _FACTS))
    if facts["key"] != key:
        raise ValueError("it was made from another source")
    file = folder / _IMAGES
    if not file.is_file():  # opening a pipe would wait for a writer
        raise ValueError(f"{_IMAGES} is no file")
    images = np.load(file, mmap_mode="r")
    if images.dtype != np.uint8 or list(images.shape) != facts["shape"]:
        raise ValueError(f"{_IMAGES} and {_FACTS} do not belong together")
    if file.stat().st_size != images.offset + images.nbytes:
        raise ValueError(f"{_IMAGES} has a wrong length")
    if pixels_digest(images) != facts["pixels"]:
        raise ValueError(f"{_IMAGES} has changed")
    return Dataset(
        name=facts["name"],
        images=images,
        labels=np.array(facts["labels"], dtype=np.int64),
        classes=tuple(facts["classes"]),
        splits={k: np.array(ids, dtype=np.int64) for k, ids in facts["splits"].items()},
        pixels=facts["pixels"],
        facts=facts["facts"],
    )


def write(folder: Path, key: str, dataset: Dataset) -> None:
    """Write an entry, which appears when it is whole.

    Another process may do the same at the same time.

    Raises:
        OSError: it cannot be written.
    """
    # Not in the system's folder for temporary files: a rename must stay on one file system.
    temporary = folder.with_name(temporary_name(folder.name))
    try:
        temporary.mkdir(parents=True)
        _fill(temporary, key, dataset)
        _publish(temporary, folder, key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, key: str, dataset: Dataset) -> None:
    facts = {
        "key": key,
        "name": dataset.name,
        "shape": list(dataset.images.shape),
        "pixels": dataset.pixels,
        "facts": dict(dataset.facts),
        "splits": {split: np.asarray(ids).tolist() for split, ids in dataset.splits.items()},
        "classes": list(dataset.classes),
        "labels": dataset.labels.tolist(),
    }
    with (folder / _IMAGES).open("wb") as file:
        np.save(file, np.ascontiguousarray(dataset.images))
        file.flush()
        os.fsync(file.fileno())
    write_atomically(folder / _FACTS, seal(facts))


def _publish(temporary: Path, folder: Path, key: str) -> None:
    """Rename a finished entry into place, unless another process has done so."""
    for attempt in range(_TRIES):
        try:
            temporary.replace(folder)  # fails if a folder with files is there
            return
        except OSError:
            if attempt == _TRIES - 1:
                raise
        try:
            read(folder, key)
            return
        except DamagedEntry:
            remove(folder)


def remove(folder: Path) -> None:
    """Remove an entry, moving it away first so that no process finds half of it.

    A process that has it open keeps its memory map.
    """
    aside = folder.with_name(temporary_name(folder.name))
    try:
        folder.replace(aside)
    except FileNotFoundError:
        return  # another process did it
    shutil.rmtree(aside, ignore_errors=True)
