"""Downloads of datasets, from where torchvision does."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from metabench.data.fetch import fetch
from metabench.errors import DataError, reason

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
        raise DataError(f"torchvision cannot be imported ({reason(error)})") from error


def download_mnist(file: Path, advice: str) -> None:
    """Download a compressed file of MNIST from one of the mirrors that torchvision lists.

    Raises:
        DataError: it cannot be downloaded; `advice` ends the message.
    """
    reasons = []
    try:
        known = torchvision_datasets().MNIST
        with _no_empty_folders(file.parent):
            for mirror in known.mirrors:
                try:
                    return fetch(f"{mirror}{file.name}", file, dict(known.resources)[file.name])
                except DataError as error:
                    reasons.append(str(error))
            raise DataError("; ".join(reasons))
    except (OSError, DataError) as error:
        raise DataError(f"cannot get MNIST ({error}): {advice}") from error


def download_omniglot(folder: Path, name: str, advice: str) -> None:
    """Download an archive of Omniglot, "images_background" or "images_evaluation".

    Raises:
        DataError: it cannot be downloaded; `advice` ends the message.
    """
    file = folder / f"{name}.zip"
    try:
        known = torchvision_datasets().Omniglot
        with _no_empty_folders(folder):
            fetch(f"{known.download_url_prefix}/{file.name}", file, known.zips_md5[name])
    except (OSError, DataError) as error:
        raise DataError(f"cannot download {file.name} ({error}): {advice}") from error


@contextlib.contextmanager
def _no_empty_folders(folder: Path) -> Iterator[None]:
    """Make a folder with its parents; remove them if the code that should fill it fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that is not empty stays, with its parents
            for path in missing:
                path.rmdir()
        raise
