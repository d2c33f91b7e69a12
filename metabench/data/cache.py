"""The data root, and the cache that keeps datasets as memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from metabench.data.dataset import Dataset, pixels_digest
from metabench.errors import DataError
from metabench.files import remove_leftovers, temporary_name

ENVIRONMENT = "METABENCH_DATA"

_IMAGES, _FACTS = "images.npy", "dataset.json"
_FORMAT = 1  # part of every key, so entries of another format are ignored
_TRIES = 5
_ANYBODY_WRITES = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, DataError)

_log = logging.getLogger(__name__)


def data_root(given: str | Path | None = None) -> Path:
    """Return the data root: `given`, otherwise METABENCH_DATA, otherwise the platform's cache."""
    chosen = given or os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen).expanduser()
    return _platform_cache()


def _platform_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("metabench"))


def slug(text: str) -> str:
    """Return text as lower-case words joined by hyphens, safe in file names and addresses."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def files_key(files: Iterable[Path], root: Path, **params: object) -> str:
    """Return a key made of files' relative names, sizes and modification times, and parameters.

    Raises:
        DataError: a file is missing or cannot be accessed.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from None
        name = file.relative_to(root).as_posix()
        digest.update(f"\n{name}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return digest.hexdigest()


def cached(root: Path, name: str, key: str, make: Callable[[], Dataset]) -> Dataset:
    """Return the dataset of `make`, which is called once; afterwards it is memory-mapped.

    It is kept in `<root>/cache/<name>-<12 hex digits>/`, or in the platform's cache folder if the
    root is read-only, as a shared one may be. A damaged entry is made again. Any number of
    processes may call this at the same time.

    Args:
        root: the data root.
        name: the start of the folder's name.
        key: everything that `make` depends on; each key has its own entry.
        make: a function that reads or computes the dataset.

    Raises:
        DataError: the data root cannot be written to. Errors of `make` are passed on.
    """
    key = f"{_FORMAT}:{key}"
    folder = (
        _cache_root(root)
        / "cache"
        / f"{slug(name)}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    )
    if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises if access is denied
        try:
            return _read(folder, key)
        except _UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            _log.warning("cached dataset %s is damaged (%s): making it again", folder, reason)
    dataset = make()
    # Not in the system's folder for temporary files: a rename must stay on one file system.
    temporary = folder.with_name(temporary_name(folder.name))
    try:
        remove_leftovers(folder.parent.glob(".*.tmp"))
        temporary.mkdir(parents=True)
        _write(temporary, key, dataset)
        _publish(temporary, folder, key)
    except OSError as error:
        raise DataError(
            f"cannot keep dataset {name} in {folder.parent} ({error.strerror}): "
            f"set --data-root or {ENVIRONMENT} to a folder that can be written to"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    try:
        return _read(folder, key)
    except _UNREADABLE:  # another process that saw the old damage has just removed it
        return dataset


def _cache_root(root: Path) -> Path:
    # The superuser may write anywhere, so permissions are checked too: a folder that nobody may
    # write to is meant to stay unchanged.
    read_only = root.is_dir() and not (
        os.access(root, os.W_OK) and root.stat().st_mode & _ANYBODY_WRITES
    )
    return _platform_cache() if read_only else root


def _write(folder: Path, key: str, dataset: Dataset) -> None:
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
        _flush(file)
    with (folder / _FACTS).open("wb") as file:
        file.write(json.dumps(facts).encode())
        _flush(file)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


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
            _read(folder, key)
            return
        except _UNREADABLE:
            _discard(folder)


def _discard(folder: Path) -> None:
    """Remove a damaged entry, moving it away first so that no process finds half of it."""
    aside = folder.with_name(temporary_name(folder.name))
    try:
        folder.replace(aside)
    except FileNotFoundError:
        return  # another process did it
    shutil.rmtree(aside, ignore_errors=True)


def _read(folder: Path, key: str) -> Dataset:
    """Open an entry, or raise one of `_UNREADABLE`."""
    facts = json.loads((folder / _FACTS).read_bytes())
    if facts["key"] != key:
        raise ValueError("it was made from another source")
    images = np.load(folder / _IMAGES, mmap_mode="r")
    if images.dtype != np.uint8 or list(images.shape) != facts["shape"]:
        raise ValueError(f"{_IMAGES} and {_FACTS} do not belong together")
    if (folder / _IMAGES).stat().st_size != images.offset + images.nbytes:
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
