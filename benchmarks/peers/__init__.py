"""The peers, libraries that metabench is compared with: one file each, and how to fetch them.

No code of a peer is in this repository. `python -m benchmarks.peers` fetches the packages into
a folder of their own, never into the environment, and contenders import them from there.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A peer that has to be fetched.

    Attributes:
        requirement: the requirement for pip.
        file: a file that exists once the package has been fetched.
        patches: the patches that it needs to run here; its adapter in this folder says why.
    """

    requirement: str
    file: str
    patches: str


PACKAGES = {
    "higher": Package("higher==0.2.1", "higher/__init__.py", "none"),
    "learn2learn": Package(
        "learn2learn==0.2.0",
        "learn2learn/algorithms/maml.py",
        "its modules of algorithms are loaded without its packages' __init__",
    ),
    "easyfsl": Package(
        "easyfsl==1.5.0",
        "easyfsl/__init__.py",
        "TaskSampler gets a base class that takes data_source; torchvision may lack operators",
    ),
}
PLAIN = "plain loop"  # needs nothing; every gradient is checked against it


def admit(folder: Path) -> None:
    """Make the packages of a folder importable, after those of the environment."""
    if str(folder.absolute()) not in sys.path:
        sys.path.append(str(folder.absolute()))


def present(name: str, folder: Path) -> bool:
    """Return whether a peer can be imported, from the folder or from the environment."""
    if name == PLAIN or (folder / PACKAGES[name].file).exists():
        return True
    # What is installed as learn2learn has compiled modules, which need a build of their own.
    return name != "learn2learn" and importlib.util.find_spec(name) is not None
