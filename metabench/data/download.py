"""Downloads of datasets through torchvision."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import Any

from metabench.errors import DataError
from metabench.files import temporary_name

_META = "torchvision._meta_registrations"


def torchvision_datasets() -> Any:
    """Import `torchvision.datasets`, whichever build of torch is installed.

    With a CPU build of torch and a CUDA build of torchvision, compiled operators are missing, and
    registering their shapes fails. Datasets need none of them, so this step is skipped.

    Raises:
        DataError: torchvision cannot be imported at all.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    sys.modules[_META] = ModuleType(_META)
    try:
        return importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"torchvision cannot be imported ({reason})") from error


def download_mnist(root: Path, advice: str) -> None:
    """Download the missing files of MNIST into `<root>/MNIST/raw` and verify their checksums.

    Raises:
        DataError: it cannot be downloaded; `advice` ends the message.
    """
    try:
        # torchvision prints to stdout
        with contextlib.redirect_stdout(sys.stderr), _no_empty_folders(root / "MNIST" / "raw"):
            torchvision_datasets().MNIST(str(root), download=True)
    except (OSError, HTTPException, RuntimeError, EOFError, ValueError, AssertionError) as error:
        reason = _said(error)
        raise DataError(f"cannot get MNIST ({reason}): {advice}") from error


def download_omniglot(folder: Path, name: str, advice: str) -> None:
    """Download an archive of Omniglot, "images_background" or "images_evaluation".

    It appears in the folder only when it is complete and has the checksum that torchvision lists.

    Raises:
        DataError: it cannot be downloaded; `advice` ends the message.
    """
    temporary = folder / temporary_name(name)
    try:
        datasets = torchvision_datasets()
        known = datasets.Omniglot
        with _no_empty_folders(folder):
            try:
                temporary.mkdir(parents=True)
                datasets.utils.download_url(
                    f"{known.download_url_prefix}/{name}.zip",
                    str(temporary),
                    filename=f"{name}.zip",
                    md5=known.zips_md5[name],
                )
                (temporary / f"{name}.zip").replace(folder / f"{name}.zip")
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, HTTPException, RuntimeError, DataError) as error:  # URLError is an OSError
        reason = _said(error)
        raise DataError(f"cannot download {name}.zip ({reason}): {advice}") from error


@contextlib.contextmanager
def _no_empty_folders(folder: Path) -> Iterator[None]:
    """Remove a folder and the parents made for it, if the code that should fill it fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that is not empty stays, with its parents
            for path in missing:
                path.rmdir()
        raise


def _said(error: Exception) -> str:
    """Return the first line of an error, or its type if it has no text."""
    return str(error).partition("\n")[0].rstrip(": ") or type(error).__name__
