"""Fetch the peers: `python -m benchmarks.peers [--folder build/peers]`.

Wheels are installed without their dependencies, because torch is already installed. learn2learn
is unpacked from its source package, because its compiled modules do not build with current
Cython; the measured classes are plain Python.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from benchmarks.options import PEERS
from benchmarks.peers import PACKAGES

WHEELS = ("higher", "easyfsl")
ALSO = "tqdm>=4,<5"  # easyfsl imports it
SOURCE = "learn2learn"
PARTS = (("learn2learn", "algorithms"), ("learn2learn", "utils"))


def main() -> int:
    """Fetch every peer; return 1 if one of them cannot be fetched."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=PEERS)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    requirements = [*(PACKAGES[name].requirement for name in WHEELS), ALSO]
    fetched = pip("install", "--no-deps", "--upgrade", "--target", str(folder), *requirements)
    fetched = source(PACKAGES[SOURCE].requirement, folder) and fetched
    for name, package in PACKAGES.items():
        there = (folder / package.file).exists()
        print(f"{name}: {folder if there else 'missing'}")
    return 0 if fetched else 1


def source(requirement: str, folder: Path) -> bool:
    """Unpack the parts of a source package that need no compiler."""
    with tempfile.TemporaryDirectory() as temporary:
        if not pip(
            "download", "--no-deps", "--no-binary", ":all:", requirement, "--dest", temporary
        ):
            return False
        (archive,) = Path(temporary).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            for member in packed.getmembers():
                inside = PurePosixPath(member.name).parts[1:]  # without the archive's own folder
                if inside[:2] in PARTS and member.isfile():
                    member.name = str(PurePosixPath(*inside))
                    packed.extract(member, folder, filter="data")
    return True


def pip(*arguments: str) -> bool:
    """Run pip and return whether it succeeded."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    return subprocess.run(command).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
