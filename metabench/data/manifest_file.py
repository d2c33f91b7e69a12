"""Manifest files: an explicit list of episodes over image files."""

from __future__ import annotations

import codecs
import json
import posixpath
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from PIL import Image

from metabench.data.cache import cached_files, slug
from metabench.data.dataset import Dataset, Indices
from metabench.data.images import Background, ImageError, Reading, read_images
from metabench.data.paths import absolute, unreadable
from metabench.errors import DataError, reason
from metabench.files import read_file, write_atomically


class Listing(NamedTuple):
    """E episodes in the order in which a file lists them.

    Attributes:
        name: the name in the file.
        way: classes per episode.
        shot: support examples per class.
        queries: query examples per class.
        support: [E, way * shot] int64 indices of images.
        support_y: [E, way * shot] int64 labels in 0..way-1.
        query: [E, way * queries] int64 indices of images.
        query_y: [E, way * queries] int64 labels.
    """

    name: str
    way: int
    shot: int
    queries: int
    support: Indices
    support_y: Indices
    query: Indices
    query_y: Indices


class ListedEpisode(msgspec.Struct, forbid_unknown_fields=True):
    """Paths of images with their labels."""

    support: list[tuple[str, int]]
    query: list[tuple[str, int]]


class ListedEpisodes(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a manifest file."""

    name: str
    root: str
    size: Annotated[int, msgspec.Meta(ge=1)] | None
    episodes: Annotated[list[ListedEpisode], msgspec.Meta(min_length=1)]
    bits: int | None = None
    background: Background = "white"


def load(file: str | Path, root: Path) -> tuple[Dataset, Listing]:
    """Read a manifest file and its images.

    The file does not say which images of different episodes show the same thing, so each
    image is a class of its own in the dataset, named by its path. There are no splits.

    Args:
        file: a JSON file, `{"name", "root", "size", "episodes": [{"support": [[path, label],
            ...], "query": [...]}]}`; paths are relative to `root`, and `root` to the file. It may
            also have the fields `bits` and `background` of `Reading`.
        root: the data root; resized images are kept there.

    Raises:
        DataError: the file or an image cannot be read, an episode is malformed, or episodes
            differ in shape.
    """
    file = absolute(file)
    content = _decode(file)
    name = f"manifest-{slug(content.name)}"
    reading = Reading(content.size, bits=content.bits, background=content.background)
    return read_episodes(content, file, file.parent / content.root, name, root, reading)


def read_episodes(
    content: ListedEpisodes, file: Path, folder: Path, name: str, root: Path, reading: Reading
) -> tuple[Dataset, Listing]:
    """Check listed episodes and read their images.

    Args:
        content: the episodes.
        file: the file that lists them, for messages.
        folder: the folder that their paths are relative to.
        name: the name of the dataset.
        root: the data root.
        reading: how images become pixels.

    Raises:
        DataError: an image cannot be read, an episode is malformed, or episodes differ in shape.
    """
    shapes = [_shape(episode, f"{file}, episode {e}") for e, episode in enumerate(content.episodes)]
    for e, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise DataError(
                f"{file}, episode {e}: {_said(shape)}, but episode 0 has {_said(shapes[0])}; "
                "all episodes of a manifest file must have the same shape"
            )
    seen = _first_seen(content, file)
    paths = sorted(seen)
    files = [folder / path for path in paths]
    for path, image in zip(paths, files, strict=True):
        try:
            found = image.is_file()
        except (OSError, ValueError) as error:
            raise DataError(f"{file}, episode {seen[path]}: {unreadable(image, error)}") from error
        if not found:
            raise DataError(f"{file}, episode {seen[path]}: there is no image {image}")

    def make() -> Dataset:
        try:
            images = read_images(files, reading)
        except ImageError as error:
            path = paths[files.index(error.path)]
            raise DataError(f"{file}, episode {seen[path]}: {error}") from error
        return Dataset(
            name=name,
            images=images,
            labels=np.arange(len(paths)),
            classes=tuple(paths),
            splits={},
            facts=reading.facts,
        )

    dataset = cached_files(root, name, files, folder, make, place=str(file), **reading.key)
    return dataset, _listing(content, shapes[0], {path: i for i, path in enumerate(paths)})


def write(
    file: str | Path,
    name: str,
    dataset: Dataset,
    support: Indices,
    support_y: Indices,
    query: Indices,
    query_y: Indices,
) -> None:
    """Write episodes as a manifest file, with their images in a folder next to it.

    Args:
        file: the manifest file; the folder `<stem>-images` holds the unchanged images as PNG.
        name: the suite's name.
        dataset: images of one or three channels.
        support: [E, S] indices of images.
        support_y: [E, S] labels.
        query: [E, Q] indices of images.
        query_y: [E, Q] labels.

    Raises:
        DataError: PNG cannot hold such images, or the folder cannot be written to.
    """
    file = Path(file)
    if dataset.shape[0] not in (1, 3):
        raise DataError(f"dataset {dataset.name}: PNG cannot hold {dataset.shape[0]} channels")
    paths: dict[int, str] = {}
    try:
        for i in np.union1d(support, query).tolist():
            c = int(dataset.labels[i])
            n = int(np.searchsorted(dataset.images_of[c], i))
            # The class id distinguishes names that differ only in punctuation or case.
            folder = f"{file.stem}-images/{c:04d}-{slug(dataset.classes[c])[:60]}"
            paths[i] = f"{folder}/{n:04d}.png"
            (file.parent / folder).mkdir(parents=True, exist_ok=True)
            pixels = dataset.images[i].transpose(1, 2, 0)
            Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
                file.parent / paths[i]
            )

        def rows(images: Indices, labels: Indices) -> list[list[str | int]]:
            return [[paths[int(i)], int(y)] for i, y in zip(images, labels, strict=True)]

        episodes = [
            json.dumps({"support": rows(s, s_y), "query": rows(q, q_y)})
            for s, s_y, q, q_y in zip(support, support_y, query, query_y, strict=True)
        ]
        # Images may be dark: whoever opened the suite has confirmed that, by `bits` or otherwise.
        head = json.dumps({"name": name, "root": ".", "size": None, "bits": 8})[:-1]
        text = head + ', "episodes": [\n' + ",\n".join(episodes) + "\n]}\n"
        write_atomically(file, text.encode())
    except OSError as error:
        raise DataError(f"cannot write manifest file {file}: {reason(error)}") from error


def _decode(file: Path) -> ListedEpisodes:
    try:
        text = read_file(file).removeprefix(codecs.BOM_UTF8)
        return msgspec.json.decode(text, type=ListedEpisodes)
    except OSError as error:
        raise unreadable(file, error) from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise DataError(f"manifest file {file}: {error}") from error


def _shape(episode: ListedEpisode, where: str) -> tuple[int, int, int]:
    """Return way, shot and queries per class of one episode."""
    counts = Counter(label for _, label in episode.support)
    queries = Counter(label for _, label in episode.query)
    if not counts or sorted(counts) != list(range(len(counts))):
        raise DataError(f"{where}: support labels are {sorted(counts)}, must be 0, 1, ... way-1")
    if len(set(counts.values())) > 1:
        raise DataError(f"{where}: labels have {_each(counts)} support images; make them equal")
    if counts.keys() != queries.keys():
        raise DataError(
            f"{where}: query labels are {sorted(queries)} but support labels {sorted(counts)}"
        )
    if len(set(queries.values())) > 1:
        raise DataError(f"{where}: labels have {_each(queries)} queries; make them equal")
    support, query = (
        [posixpath.normpath(path) for path, _ in rows] for rows in (episode.support, episode.query)
    )
    both = {*support} & {*query}
    if both:
        raise DataError(f"{where}: {min(both)} is both in the support set and a query")
    for path, times in Counter([*support, *query]).items():
        if times > 1:
            raise DataError(f"{where}: {path} is listed {times} times")
    return len(counts), counts[0], queries[0]


def _each(counts: Counter[int]) -> str:
    return ", ".join(str(counts[label]) for label in sorted(counts))


def _said(shape: tuple[int, int, int]) -> str:
    return "{} classes with {} support images and {} queries each".format(*shape)


def _first_seen(content: ListedEpisodes, file: Path) -> dict[str, int]:
    """Return every image path with the first episode that lists it."""
    seen: dict[str, int] = {}
    for e, episode in enumerate(content.episodes):
        for path, _ in episode.support + episode.query:
            if PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute():
                raise DataError(f"{file}, episode {e}: {path} is not relative to root")
            seen.setdefault(posixpath.normpath(path), e)
    return seen


def _listing(
    content: ListedEpisodes, shape: tuple[int, int, int], index: dict[str, int]
) -> Listing:
    def indices(part: list[list[tuple[str, int]]]) -> Indices:
        return np.array(
            [[index[posixpath.normpath(p)] for p, _ in rows] for rows in part], dtype=np.int64
        )

    def labels(part: list[list[tuple[str, int]]]) -> Indices:
        return np.array([[label for _, label in rows] for rows in part], dtype=np.int64)

    support = [episode.support for episode in content.episodes]
    query = [episode.query for episode in content.episodes]
    return Listing(
        content.name, *shape, indices(support), labels(support), indices(query), labels(query)
    )
