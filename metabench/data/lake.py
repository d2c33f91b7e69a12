"""The one-shot classification runs that were published with Omniglot.

Lake, Salakhutdinov & Tenenbaum (2015), Science 350: each run is one 20-way 1-shot episode within
an alphabet, with one query per class. A folder of runs holds `run01`, `run02`, ..., each with a
file `class_labels.txt`. A line of this file names a test image and the training image of the same
character, relative to the folder of runs: `run01/test/item01.png run01/training/class13.png`.
"""

from __future__ import annotations

from pathlib import Path

from metabench.data.dataset import Dataset
from metabench.data.images import Reading
from metabench.data.manifest_file import ListedEpisode, ListedEpisodes, Listing, read_episodes
from metabench.data.paths import absolute, list_folder, unreadable
from metabench.data.sealed import json_digest
from metabench.errors import DataError
from metabench.files import read_file

NAME = "omniglot-lake"
SIZE = 28
_RUNS = _WAY = 20
_LABELS = "class_labels.txt"


def load(folder: str | Path, root: Path) -> tuple[Dataset, Listing]:
    """Read a folder of runs; images become 28x28 with bright ink, like those of `omniglot`.

    Raises:
        DataError: there are no runs, one is malformed, or an image cannot be read.
    """
    folder = absolute(folder)
    runs = [
        folder / entry.name
        for entry in (list_folder(folder) if folder.is_dir() else [])
        if entry.name.startswith("run") and entry.is_dir()
    ]
    if not runs:
        raise DataError(
            f"no runs in {folder}: it must hold run01, run02, ... with {_LABELS} in each"
        )
    listed = [_episode(run / _LABELS) for run in runs]
    name = _name(listed)
    episodes = ListedEpisodes(name, ".", SIZE, listed)
    return read_episodes(episodes, folder, folder, name, root, Reading(SIZE, invert=True))


def _name(listed: list[ListedEpisode]) -> str:
    """Return the published name for 20 runs of 20 ways, otherwise one with a digest."""
    if len(listed) == _RUNS and all(len(episode.support) == _WAY for episode in listed):
        return NAME
    pairs = [(episode.support, episode.query) for episode in listed]
    return f"{NAME}-{json_digest(pairs)[:6]}"


def _episode(file: Path) -> ListedEpisode:
    try:
        lines = read_file(file).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise unreadable(file, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {file}: it is not UTF-8 text: save it as UTF-8") from error
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and len(words) != 2:
            raise DataError(f"{file}, line {number}: write a test image and a training image")
        if words:
            pairs.append((words[0], words[1]))
    training = sorted({image for _, image in pairs})
    return ListedEpisode(
        support=[(image, label) for label, image in enumerate(training)],
        query=[(image, training.index(of)) for image, of in pairs],
    )
