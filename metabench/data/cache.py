"""Where data lives, and how images are kept so that reading them again takes milliseconds."""

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
_FORMAT = 1  # part of every key: entries of another format are not looked at
_TRIES = 5
_ANYBODY_WRITES = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, DataError)

_log = logging.getLogger(__name__)


def data_root(given: str | Path | None = None) -> Path:
    """The folder of datasets: as given, else METABENCH_DATA, else the platform's cache."""
    chosen = given or os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen).expanduser()
    return _platform_cache()


def _platform_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("metabench"))


def slug(text: str) -> str:
    """Text as lower-case words joined by hyphens, safe in file names and addresses."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def files_key(files: Iterable[Path], root: Path, **params: object) -> str:
    """A content key: relative names, sizes and times of files, and parameters.

    Raises:
        DataError: a file is gone or may not be looked at.
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
    """The dataset that `make` returns, made once and memory-mapped ever after.

    It is kept in `<root>/cache/<name>-<12 digits>/`, or in the platform's cache folder where a
    root that several people share may only be read. A damaged entry is made again, and any
    number of processes may do this at once.

    Args:
        root: the data root.
        name: begins the folder's name.
        key: says what `make` depends on; another key is another entry.
        make: reads or computes the dataset.

    Raises:
        DataError: the data root cannot be written to; and whatever `make` raises.
    """
    key = f"{_FORMAT}:{key}"
    folder = (
        _cache_root(root)
        / "cache"
        / f"{slug(name)}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    )
    if os.path.isdir(folder):  # noqa: PTH112 - Path's raises where access is denied
        try:
            return _read(folder, key)
        except _UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            _log.warning("cached dataset %s is damaged (%s): making it again", folder, reason)
    dataset = make()
    # Not in the system's folder for temporary files: a rename must stay on one disk.
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
    # Root may write anywhere; a folder that nobody has the right to write to is meant to stay
    # as it is all the same.
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
    """Rename a finished entry into place, unless another process was quicker."""
    for attempt in range(_TRIES):
        try:
            temporary.replace(folder)  # refused where a folder with files stands
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
    """Remove a damaged entry: moved first, so that nobody finds half of it."""
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
        raise ValueError("it was made from something else")
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
