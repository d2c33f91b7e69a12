"""Folders and files that a user names, with one-line errors for those that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

from metabench.errors import DataError, reason
from metabench.files import expanded

_SHOWN = 1000  # characters of a path; a longer one does not exist


def absolute(path: str | Path) -> Path:
    """Return an absolute path.

    Raises:
        DataError: it has a name that is too long or not UTF-8, or lies in a folder that cannot be
            read.
    """
    found = expanded(path).absolute()
    first_existing(found)
    check_name(found)
    return found


def first_existing(*paths: Path) -> Path | None:
    """Return the first path that exists; None if there is none.

    Raises:
        DataError: one cannot be looked at, such as a loop of links.
    """
    for path in paths:
        try:
            path.stat()
            return path
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
    return None


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder by name, without hidden entries.

    Raises:
        DataError: it cannot be read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from error
    return [e for e in entries if not e.name.startswith((".", "__MACOSX"))]


def check_name(path: Path) -> None:
    """Raise a DataError if a name is not UTF-8: results and messages could not contain it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(f"the name of {path} is not UTF-8: rename it") from None


def unreadable(path: str | Path, error: Exception) -> DataError:
    """Return the error for a path that cannot be read."""
    return DataError(f"cannot read {str(path)[:_SHOWN]}: {reason(error)}")
