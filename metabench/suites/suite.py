"""A suite: a named, frozen list of test episodes over one dataset.

Catalogues contain dozens of suites, so this file imports neither NumPy nor a dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.address import plain
from metabench.errors import UsageError, unknown
from metabench.files import name_problem
from metabench.learner import METRICS, Kind, Metric, kind_of, load
from metabench.suites.protocol import BySplit, EpisodeProtocol

if TYPE_CHECKING:
    from metabench.data.dataset import Dataset
    from metabench.data.images import Background
    from metabench.data.manifest_file import Listing
    from metabench.suites.open_suite import OpenSuite


_TAKEN = ("checkpoints", "code", "logs")  # folders in a results folder that hold no results


@dataclass(frozen=True)
class Suite:
    """A named list of test episodes; nothing is read or drawn until `open`.

    Attributes:
        name: the name in commands, files and tables.
        dataset: a function from the data root to a `Dataset`, or "module:attr" naming it, or
            the dataset itself.
        way: classes per episode; 1 for regression, where an episode is one function.
        shot: support examples per class.
        query: query examples per class.
        episodes: the number of test episodes.
        protocol: the rule that divides the dataset into base, validation and test episodes.
        metric: "accuracy", or "mse" for regression: mean squared error, lower is better.
        address: its name on the command line, if that is an address.
    """

    name: str
    dataset: str | Callable[[Path], Dataset] | Dataset
    way: int
    shot: int
    query: int = 15
    episodes: int = 1000
    protocol: EpisodeProtocol = field(default_factory=BySplit)
    metric: Metric = "accuracy"
    address: str = ""

    def __post_init__(self) -> None:
        # It names a folder.
        advice = "write letters, digits, '.', '_' and '-' only"
        problem = name_problem(self.name, r"[A-Za-z0-9][A-Za-z0-9._-]*", advice)
        if self.name.lower() in _TAKEN:
            problem = "this name is reserved by metabench, choose another"
        if problem:
            raise UsageError(f"suite name '{self.name}': {problem}")
        for what in ("way", "shot", "query", "episodes"):
            value = plain(getattr(self, what))
            if type(value) is not int:
                raise UsageError(f"suite {self.name}: {what}={value!r}, write a whole number")
            object.__setattr__(self, what, value)
        if self.metric not in METRICS:
            raise unknown(f"metric of suite {self.name}", self.metric, METRICS)
        if self.kind == "regression" and self.way != 1:
            raise UsageError(f"suite {self.name}: way={self.way}, regression has way=1")
        fewest = 1 if self.kind == "regression" else 2
        for what, least in (("way", fewest), ("shot", 1), ("query", 1), ("episodes", 1)):
            if getattr(self, what) < least:
                raise UsageError(
                    f"suite {self.name}: {what}={getattr(self, what)}, must be at least {least}"
                )

    @property
    def kind(self) -> Kind:
        """The kind of its tasks."""
        return kind_of(self.metric)

    @property
    def dataset_name(self) -> str:
        """The dataset's name, without loading it."""
        if isinstance(self.dataset, str):
            return self.dataset.partition(":")[0].rpartition(".")[2].replace("_", "-")
        name = getattr(self.dataset, "name", None) or getattr(self.dataset, "__name__", "dataset")
        return str(name)

    @property
    def code(self) -> tuple[str, ...]:
        """The functions and classes that make its dataset and episodes, as "module:attr"."""
        protocol = type(self.protocol)
        found = f"{protocol.__module__}:{protocol.__qualname__}"
        made: Any = self.dataset
        if isinstance(made, str):
            return found, made
        if not callable(made):
            return (found,)
        while isinstance(made, partial):  # its arguments show in the digests of data and episodes
            made = made.func
        made = made if hasattr(made, "__qualname__") else type(made)
        return found, f"{made.__module__}:{made.__qualname__}"

    def open(self, data_root: str | Path | None = None) -> OpenSuite:
        """Load the dataset and check that it has enough classes and images.

        Raises:
            DataError: the data is missing or damaged, or a class is too small.
        """
        from metabench.data.cache import data_root as chosen_root
        from metabench.data.dataset import Dataset
        from metabench.suites.open_suite import OpenSuite

        dataset = self.dataset
        if not isinstance(dataset, Dataset):
            dataset = load(dataset)(chosen_root(data_root))
        opened = OpenSuite(self, dataset)
        opened.check()
        return opened

    def content(self, data_root: str | Path | None = None) -> tuple[str, str]:
        """Return the digests of its episodes and of its images.

        Raises:
            DataError: the data is missing or damaged, or a class is too small.
        """
        opened = self.open(data_root)
        return opened.episodes.digest, opened.dataset.pixels

    def named_by_content(self) -> Suite:
        """Return the suite under a name that no suite of other episodes or images has.

        Two folders may share a name, and arrays have none.

        Raises:
            DataError: the data is missing or damaged, or a class is too small.
        """
        digest = hashlib.sha256(" ".join(self.content()).encode()).hexdigest()[:6]
        return replace(self, name=f"{self.name}-{digest}")

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        name: str | None = None,
        way: int = 5,
        shot: int = 1,
        query: int = 15,
        episodes: int = 1000,
        splits: Mapping[str, Any] | None = None,
        split: str = "auto",
        data_root: str | Path | None = None,
    ) -> Suite:
        """Make a suite from labelled images; `metabench.data.arrays` says which `x` is accepted.

        Args:
            x: [M, H, W] or [M, C, H, W] images.
            y: [M] labels, integers or strings.
            name: the name of the dataset; the suite is named `<name>-<way>w<shot>s`. Without it,
                the suite is named `arrays-<way>w<shot>s` and a digest of its content, so that no
                two suites share a name.
            way: classes per episode.
            shot: support examples per class.
            query: query examples per class.
            episodes: the number of test episodes.
            splits: the labels of "base", "validation" and "novel".
            split: without `splits`: "auto" divides the classes, "novel" tests on all.
            data_root: the folder that keeps the arrays.

        Raises:
            UsageError: the arrays do not have the right form.
            DataError: there are too few classes or images.
        """
        from metabench.data import arrays, cache

        root = cache.data_root(data_root)
        dataset = arrays.load(x, y, root, name=name or "arrays", splits=splits, split=split)
        suite = _sized(dataset, way, shot, query, episodes)
        return suite if name else suite.named_by_content()

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        way: int = 5,
        shot: int = 1,
        query: int = 15,
        episodes: int = 1000,
        size: int | None = 28,
        split: str = "auto",
        invert: bool = False,
        bits: int | None = None,
        background: Background = "white",
        data_root: str | Path | None = None,
    ) -> Suite:
        """Make a suite from images in class folders, one or two levels deep.

        Args:
            path: the folder; folders named base, validation and novel (or train, val, test) at
                its top are the splits.
            way: classes per episode.
            shot: support examples per class.
            query: query examples per class.
            episodes: the number of test episodes.
            size: images are resized to size x size; None keeps their size.
            split: without split folders: "auto" divides the classes, "novel" tests on all.
            invert: make dark ink on light paper bright.
            bits: pixels have values up to 2 ** bits - 1, as in 12-bit images that are stored in
                16 bits, or masks of 0 and 1; None: they use all bits of the file.
            background: the colour of transparent pixels, "white" or "black".
            data_root: the folder that keeps the resized images.

        Raises:
            DataError: there are no images, or too few classes or images.
        """
        from metabench.data import cache, folder
        from metabench.data.images import Reading

        root = cache.data_root(data_root)
        reading = Reading(size, invert, bits, background)
        dataset = folder.load(path, root, reading, split=split)
        return _sized(dataset, way, shot, query, episodes).named_by_content()

    @classmethod
    def from_lake_runs(cls, folder: str | Path, *, data_root: str | Path | None = None) -> Suite:
        """Make the suite "omniglot-lake" from one-shot runs as published with Omniglot.

        Args:
            folder: the folder of run01, run02, ...; see `metabench.data.lake`.
            data_root: the folder that keeps the resized images.

        Raises:
            DataError: a run is malformed, or an image cannot be read.
        """
        from metabench.data import cache, lake

        return cls._listed(*lake.load(folder, cache.data_root(data_root)))

    @classmethod
    def from_manifest(cls, file: str | Path, *, data_root: str | Path | None = None) -> Suite:
        """Make a suite from an explicit list of episodes (docs: "Manifest files").

        Raises:
            DataError: the file or an image cannot be read, or an episode is malformed.
        """
        from metabench.data import cache, manifest_file

        return cls._listed(*manifest_file.load(file, cache.data_root(data_root)))

    @classmethod
    def _listed(cls, dataset: Dataset, listing: Listing) -> Suite:
        from metabench.suites.listing import Listed

        return cls(
            name=listing.name,
            dataset=dataset,
            way=listing.way,
            shot=listing.shot,
            query=listing.queries,
            episodes=len(listing.support),
            protocol=Listed(listing),
        )


def _sized(dataset: Dataset, way: int, shot: int, query: int, episodes: int) -> Suite:
    name = f"{dataset.name}-{way}w{shot}s"
    suite = Suite(name, dataset, way, shot, query, episodes)
    suite.open()
    return suite
