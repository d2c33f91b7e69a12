"""The data root, and the cache that keeps datasets as memory-mapped arrays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from metabench.data import cache_entry
from metabench.data.dataset import Dataset
from metabench.data.sealed import seal, unseal
from metabench.data.source_files import files_content, files_state
from metabench.errors import DataError, reason
from metabench.files import check_room, expanded, read_file, write_atomically
from metabench.leftovers import remove_leftovers

ENVIRONMENT = "METABENCH_DATA"

_CACHE = "cache"
_SOURCE = "source.json"  # in an entry: the state of the files when they had its content
_MAX_NAME = 80  # characters of a name that is made from another
_FORMAT = 2  # part of every key, so entries of another format are ignored
_ANYBODY_WRITES = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_ELSEWHERE = f"set --data-root or {ENVIRONMENT} to another folder"

_log = logging.getLogger(__name__)


def data_root(given: str | Path | None = None) -> Path:
    """Return the data root: `given`, otherwise METABENCH_DATA, otherwise the platform's cache.

    Raises:
        DataError: there is no such home folder, or the folder cannot be accessed.
    """
    chosen = given or os.environ.get(ENVIRONMENT) or _platform_cache()
    root = expanded(chosen)
    if str(root).startswith("~"):
        raise DataError(f"data root {chosen}: no such home folder; {_ELSEWHERE}")
    try:
        (root / _CACHE).stat()
    except FileNotFoundError:  # it will be made
        pass
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read data root {chosen} ({reason(error)}): {_ELSEWHERE}"
        ) from error
    return root


def _platform_cache() -> Path:
    import platformdirs

    with contextlib.suppress(RuntimeError):  # some versions return "~/..." as it is
        found = Path(platformdirs.user_cache_dir("metabench"))
        if found.is_absolute():
            return found
    raise DataError(f"there is no home folder to keep datasets in: {_ELSEWHERE}")


def slug(text: str) -> str:
    """Return text as lower-case words joined by hyphens, safe in file names and addresses."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:_MAX_NAME].strip("-") or "unnamed"


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
    return _opened(_entries(root) / f"{slug(name)}-{_digits(key)}", name, key, make)


def cached_files(
    root: Path,
    name: str,
    files: Sequence[Path],
    folder: Path,
    make: Callable[[], Dataset],
    place: str = "",
    **params: object,
) -> Dataset:
    """Return the dataset that `make` reads from files, as `cached` does.

    The key is the content of the files and their names. Reading 100,000 photographs for it takes
    minutes, so an entry remembers the state of its files (names, sizes, times, inodes and
    devices), and they are read only if they are in another state. A file that is touched is read
    again and finds the same entry. Where inodes or devices change by themselves, as on some network
    file systems, files are read every time.

    There is one entry for each place, name and parameters. An older one with other content is
    removed. A process that has it open keeps its memory map, except on a network file system if the
    process is on another machine. Machines that share a cache share its entries: if they see
    different files at the same place, each replaces the entry of the other.

    Args:
        root: the data root.
        name: the start of the folder's name.
        files: what `make` reads.
        folder: the folder that contains the files; their names are relative to it.
        make: a function that reads the files.
        place: a text that distinguishes these files from others of that name; "" for a built-in
            dataset.
        params: everything else that `make` depends on.

    Raises:
        DataError: a file cannot be read or changes meanwhile, or the data root cannot be written
            to. Errors of `make` are passed on.
    """
    start = time.time_ns()
    state = files_state(files, folder)
    of = json.dumps([_FORMAT, place, params], sort_keys=True)
    prefix = f"{slug(name)}-{_digits(of)}-"
    entries = _entries(root)
    content = _remembered(entries.glob(f"{prefix}*"), state.digest)
    remembered = content is not None
    if content is None:
        content = files_content(files, folder)

    def make_from_content() -> Dataset:
        dataset = make()
        if files_state(files, folder) != state and files_content(files, folder) != content:
            raise DataError(
                f"files in {folder} changed while they were read: try again when all are written"
            )
        return dataset

    entry = entries / f"{prefix}{_digits(content)}"
    dataset = _opened(entry, name, f"{of} {content}", make_from_content)
    if not remembered and state.proves_content(start):
        with contextlib.suppress(OSError):  # the entry of another user: files are read every time
            if entry.is_dir():
                source = seal({"state": state.digest, "content": content})
                write_atomically(entry / _SOURCE, source)
    for other in entries.glob(f"{prefix}*"):
        if other != entry:
            with contextlib.suppress(OSError):
                cache_entry.remove(other)
    return dataset


def _remembered(entries: Iterable[Path], state: str) -> str | None:
    """Return the digest of the content that files had in this state; None if it is unknown."""
    for entry in entries:
        with contextlib.suppress(OSError, ValueError, KeyError):
            source = unseal(read_file(entry / _SOURCE))
            if source["state"] == state:
                return str(source["content"])
    return None


def _opened(folder: Path, name: str, key: str, make: Callable[[], Dataset]) -> Dataset:
    """Return the dataset of an entry, which is made if it is missing or damaged."""
    try:
        return cache_entry.read(folder, key)
    except cache_entry.DamagedEntry as damage:
        if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises if access is denied
            _log.warning("cached dataset %s is damaged (%s): making it again", folder, damage)
    with _writing(folder, name):
        check_room(folder.parent)
        remove_leftovers(folder.parent.glob(".*.tmp"))
    dataset = make()
    with _writing(folder, name):
        cache_entry.write(folder, key, dataset)
    try:
        return cache_entry.read(folder, key)
    except cache_entry.DamagedEntry:  # another process has just removed it
        return dataset


@contextlib.contextmanager
def _writing(folder: Path, name: str) -> Iterator[None]:
    """Turn an `OSError` of the block, which writes an entry, into a `DataError`."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot keep dataset {name} in {folder.parent} ({reason(error)}): {_ELSEWHERE}"
        ) from error


def _entries(root: Path) -> Path:
    """Return the folder of entries."""
    # The superuser may write anywhere, so permissions are checked too: a folder that nobody may
    # write to is meant to stay unchanged.
    read_only = root.is_dir() and not (
        os.access(root, os.W_OK) and root.stat().st_mode & _ANYBODY_WRITES
    )
    return (_platform_cache() if read_only else root) / _CACHE


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
