"""The results folder: one file per cell, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from metabench.address import Value, write_value
from metabench.errors import DataError, UsageError, reason
from metabench.files import check_folder, check_room, link_in_path, read_file, write_atomically
from metabench.leftovers import remove_leftovers
from metabench.results.result_file import NewerResult, decode, encode
from metabench.results.schema import Result
from metabench.text import one_line

_MAX_PARAMS = 80  # characters of parameters in a file name, before a hash takes over
DAMAGED = ".damaged"
ALTERED = "changed since metabench wrote it"
LOGS, CHECKPOINTS, CODE = "logs", "checkpoints", "code"  # folders in the results folder
_DIGITS = 16  # of a digest of code, in the name of the file that lists its definitions

_log = logging.getLogger(__name__)


class Damaged(DataError):
    """A file that is not the result that its path promises; its cell can be run again."""


def cell_path(
    suite: str,
    algorithm: str,
    chosen: Mapping[str, Value],
    seed: int,
    budget: str,
    device: str,
) -> Path:
    """Return the path of a cell's result, relative to the results folder."""
    return Path(suite) / algorithm / f"{_params(chosen)}-s{seed}-{budget}-{device}.json"


def path_of(result: Result) -> Path:
    """Return the path of a result, relative to the results folder."""
    job = result.job
    train_on = {} if result.suite.train_on is None else {"train_on": result.suite.train_on}
    chosen = {**job.chosen, **train_on}
    return cell_path(result.suite.name, job.algorithm, chosen, job.seed, job.budget, job.device)


def _code_file(digest: str) -> Path:
    """Return the path of a list of definitions, in the form that `sha256sum` prints."""
    return Path(CODE, f"{digest[:_DIGITS]}.txt")


def _params(chosen: Mapping[str, Value]) -> str:
    text = ",".join(f"{key}={write_value(value)}" for key, value in sorted(chosen.items()))
    if not text:
        return "default"
    safe = re.sub(r"[^A-Za-z0-9_.,=+\[\]-]", "_", text)
    if safe == text and len(text) <= _MAX_PARAMS:
        return text
    return f"{safe[: _MAX_PARAMS - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Store:
    """The result files below one folder.

    Two runs may share a folder: every cell is a separate file, replaced in one step.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def place(self, path: str | Path) -> Path:
        """Return the file to write or to remove at a path relative to the folder.

        The folder may come from elsewhere, so links in it must not lead to other files of the user.
        The folder itself may be a link.

        Raises:
            DataError: a folder on the way is a link.
        """
        file = self.root / path
        link = link_in_path(file.parent, self.root)
        if link is not None:
            raise DataError(
                f"cannot write through the link {link}: replace it by a folder or choose another "
                "results folder with --results"
            )
        return file

    def check_writable(self, paths: Iterable[Path] = ()) -> None:
        """Create the folder if it is missing, and check that it can be written to and has room.

        Files that killed runs left half-written in it are removed.

        Args:
            paths: of the results that are to be written, from `cell_path`.

        Raises:
            DataError: it cannot be written to, its disk is full, or a link or file is in the place
                of a folder.
        """
        files = [Path(CODE, "any"), Path(LOGS, "any"), *paths]
        kept_too = [
            Path(top, path) for path in (Path("any"), *paths) for top in (LOGS, CHECKPOINTS)
        ]
        for file in (*files, *kept_too):
            self.place(file)
        for folder in (self.root, self.root / LOGS):  # the second may be on another disk
            with writing(folder):
                if folder == self.root or folder.is_dir():
                    check_room(folder)
        for file in files:  # one that cannot be kept too costs no result
            folder = (self.root / file).parent  # it may be another user's, or a file
            with writing(folder):
                check_folder(folder)
        for pattern in (".*.tmp", "*/*/.*.tmp", f"{CHECKPOINTS}/*/*/.*.tmp"):
            found = self.root.glob(pattern)  # which follows links
            remove_leftovers(f for f in found if link_in_path(f.parent, self.root) is None)

    def write(self, path: Path, result: Result) -> Path:
        """Write a result at a path from `cell_path` and return the file.

        Raises:
            DataError: the folder cannot be written to, or the disk is full.
        """
        file = self.place(path)
        with writing(file):
            write_atomically(file, encode(result))
        return file

    def write_code(self, digest: str, definitions: Mapping[str, str]) -> None:
        """Keep the digests of the definitions behind a digest of code, for `metabench why`.

        Raises:
            DataError: the folder cannot be written to, or the disk is full.
        """
        file = self.place(_code_file(digest))
        if file.exists():
            return
        lines = [f"{own}  {one_line(name)}\n" for name, own in sorted(definitions.items())]
        with writing(file):
            write_atomically(file, "".join(lines).encode())

    def load_code(self, digest: str) -> dict[str, str] | None:
        """Return the digests of definitions that `write_code` kept; None if there are none."""
        file = self.root / _code_file(digest)
        try:
            if not file.exists():  # older versions wrote JSON
                return msgspec.json.decode(
                    read_file(file.with_suffix(".json")), type=dict[str, str]
                )
            lines = (line.split("  ", 1) for line in read_file(file).decode().splitlines())
            return {name: own for own, name in lines}
        except (OSError, ValueError):  # ValueErrors: another form, or not UTF-8
            return None

    def load(self, path: Path) -> Result | None:
        """Return the result at a path from `cell_path`; None if there is none.

        Raises:
            Damaged: the file is not a result, or that of another cell.
            DataError: the file cannot be read now, or a newer version of metabench wrote it.
        """
        file = self.root / path
        try:
            result = decode(read_file(file))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DataError(f"cannot read {file}: {reason(error)}") from error
        except NewerResult as error:
            raise DataError(f"{file}: {error}") from error
        except msgspec.DecodeError as error:
            raise Damaged(f"{file}: not a readable result ({error})") from error
        own = path_of(result)
        # Some systems treat "A" and "a" alike, so that two cells may share a file.
        if own.as_posix().casefold() != path.as_posix().casefold():
            raise Damaged(f"{file}: this is the result of another cell, {own}")
        return result

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged file so that its cell can be run again, and return its new path.

        Raises:
            DataError: it cannot be renamed.
        """
        file = self.place(path)
        aside = file.with_name(file.name + DAMAGED)
        number = 2
        while aside.exists():
            aside = file.with_name(f"{file.name}{DAMAGED}-{number}")
            number += 1
        with writing(aside):
            file.replace(aside)
        _log.warning("%s is damaged: kept as %s, its cell runs again", file, aside.name)
        return aside

    def remove_empty(self, name: str) -> None:
        """Remove a folder in the results folder, and those inside it, as far as they are empty."""
        top = self.root / name
        if top.is_symlink():
            return
        for folder in [*sorted(top.rglob("*"), reverse=True), top]:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def paths(self) -> list[Path]:
        """List every result file, relative to the folder, in a fixed order.

        Raises:
            DataError: a folder cannot be read, so results might be missing.
        """
        try:
            found = [
                Path(file.path)
                for suite in _folders(self.root)
                for algorithm in _folders(suite)
                for file in os.scandir(algorithm)
                if file.name.endswith(".json") and not file.name.startswith(".")
            ]
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {reason(error)}") from error
        return sorted(path.relative_to(self.root) for path in found)

    def read(self) -> tuple[list[tuple[Path, Result]], list[str]]:
        """Return every readable result with its path, and a line about each suspicious file.

        Raises:
            DataError: a folder cannot be read.
        """
        results: list[tuple[Path, Result]] = []
        problems: list[str] = []
        for path in self.paths():
            try:
                result = self.load(path)
            except Damaged as error:
                problems.append(f"{error}; it is left out; a run of its cell sets it aside")
                continue
            except DataError as error:
                problems.append(f"{error}; it is left out")
                continue
            if result is not None:
                results.append((path, result))
                if result.altered:
                    problems.append(f"{self.root / path}: {ALTERED}")
        return results, problems


def _folders(parent: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """Yield the folders in a folder; none if there is no such folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(parent) as found:
        for entry in found:
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # such as a link to itself
                _log.warning("cannot read %s: %s; it is left out", entry.path, reason(error))
                continue
            if is_folder:
                yield entry


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Raise a DataError if the block cannot write a file or folder of the results folder."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "free some space or choose" if full else "choose"
        raise DataError(
            f"cannot write {file}: {reason(error)}; {advice} another folder with --results"
        ) from error


def read_result(file: Path) -> Result:
    """Read the result in a file.

    Raises:
        UsageError: the file cannot be read, or is not a result.
    """
    try:
        return decode(read_file(file))
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {reason(error)}; `metabench status` lists the files"
        ) from None
    except NewerResult as error:
        raise UsageError(f"{file} was {error}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{file} is not a readable result: {error}") from None
