"""torchvision, for the datasets that it knows how to get."""

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
    """The module `torchvision.datasets`, beside any build of torch.

    A CPU build of torch beside a CUDA build of torchvision lacks compiled operators, and
    registering their shapes fails. Datasets need none of them, so that this step is left out.

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
    """Download what is missing of MNIST into `<root>/MNIST/raw`, checksums verified.

    Raises:
        DataError: it cannot be downloaded; `advice` says what to do.
    """
    try:
        # torchvision prints its attempts
        with contextlib.redirect_stdout(sys.stderr), _no_empty_folders(root / "MNIST" / "raw"):
            torchvision_datasets().MNIST(str(root), download=True)
    except (OSError, HTTPException, RuntimeError, EOFError, ValueError, AssertionError) as error:
        reason = _said(error)
        raise DataError(f"cannot get MNIST ({reason}): {advice}") from error


def download_omniglot(folder: Path, name: str, advice: str) -> None:
    """Download an archive of Omniglot, "images_background" or "images_evaluation".

    It appears in the folder whole and with the checksum that torchvision knows, or not at all.

    Raises:
        DataError: it cannot be downloaded; `advice` says what to do.
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
    """If what is to fill a folder fails, remove it and those above it that were made for it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that is not empty stays, and all above it
            for path in missing:
                path.rmdir()
        raise


def _said(error: Exception) -> str:
    """The first line of an error, or at least its kind."""
    return str(error).partition("\n")[0].rstrip(": ") or type(error).__name__
