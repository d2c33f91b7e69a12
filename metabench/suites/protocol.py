"""Protocols: how a dataset becomes pools of base, validation and test episodes.

Catalogues contain protocols, so NumPy is imported only when one is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from metabench.data.dataset import Dataset, Indices
    from metabench.suites.episode_draw import Pool


class EpisodeProtocol(Protocol):
    """A rule that divides the dataset of a suite into pools."""

    @property
    def name(self) -> str:
        """The name, which is part of the key of every draw; a changed rule gets a new name."""

    def pools(self, dataset: Dataset) -> dict[str, Pool]:
        """Return the pools of the splits that exist, among "base", "validation" and "novel"."""


@dataclass(frozen=True)
class BySplit:
    """The usual protocol: each split has classes (or functions) of its own."""

    name: ClassVar[str] = "classes-1"

    def pools(self, dataset: Dataset) -> dict[str, Pool]:
        import numpy as np

        from metabench.data.dataset import SPLITS
        from metabench.suites.episode_draw import Pool

        splits = {split: dataset.split(split) for split in SPLITS}
        return {
            split: Pool(
                classes=classes,
                names=tuple(dataset.classes[c] for c in classes),
                support=tuple(dataset.images_of[c] for c in classes),
                query=None,
                groups=(np.arange(len(classes)),),
                in_turn=dataset.targets is not None,
            )
            for split, classes in splits.items()
            if len(classes)
        }


@dataclass(frozen=True)
class WithinGroup:
    """A protocol that draws each episode from one group, such as an alphabet in one rotation.

    The group of a class is its name without the second part: that of "Greek/character07/rot090"
    is "Greek/rot090".

    Attributes:
        fewest: the least number of classes in a group; smaller groups are left out.
    """

    fewest: int = 20

    @property
    def name(self) -> str:
        return f"groups-1/{self.fewest}"

    def pools(self, dataset: Dataset) -> dict[str, Pool]:
        from dataclasses import replace

        pools = {
            split: replace(pool, **self._grouped(pool))
            for split, pool in BySplit().pools(dataset).items()
        }
        return {split: pool for split, pool in pools.items() if pool.names}

    def _grouped(self, pool: Pool) -> dict[str, Any]:
        import numpy as np

        members: dict[str, list[int]] = {}
        for entry, name in enumerate(pool.names):
            first, *rest = name.split("/")
            members.setdefault("/".join([first, *rest[1:]]), []).append(entry)
        kept = [group for group in members.values() if len(group) >= self.fewest]
        entries = [entry for group in kept for entry in group]
        ends = np.cumsum([len(group) for group in kept])
        return {
            "classes": pool.classes[entries],
            "names": tuple(pool.names[entry] for entry in entries),
            "support": tuple(pool.support[entry] for entry in entries),
            "groups": tuple(np.split(np.arange(len(entries)), ends[:-1])),
        }


@dataclass(frozen=True)
class Chunks:
    """A protocol that cuts one labelled set into disjoint tasks with the same classes.

    Support examples come from the training part of a chunk, and queries from its test part. Some
    chunks are for meta-training, and test episodes come from the others. Both have the same
    classes, so class-disjointness does not apply.

    Attributes:
        chunks: the number of disjoint tasks.
        base: the number of them that are for meta-training.
        test_percent: the percentage of a chunk's images, per class, in its test part.
    """

    chunks: int = 10
    base: int = 7
    test_percent: int = 30

    @property
    def name(self) -> str:
        return f"chunks-1/{self.chunks}/{self.base}/{self.test_percent}"

    def pools(self, dataset: Dataset) -> dict[str, Pool]:
        cut = [self._cut(dataset, c) for c in range(len(dataset.classes))]
        return {
            "base": self._pool(dataset, cut, range(self.base)),
            "novel": self._pool(dataset, cut, range(self.base, self.chunks)),
        }

    def _cut(self, dataset: Dataset, c: int) -> list[Indices]:
        """Return the images of class c, shuffled and divided into chunks."""
        import numpy as np

        from metabench.suites.random_words import episode_words, permute, stream_key

        images = dataset.images_of[c]
        key = stream_key(dataset.content, self.name, f"cut/{c}")
        order = permute(episode_words(key, 0, 1, len(images)))[0]
        return np.array_split(images[order], self.chunks)

    def _pool(self, dataset: Dataset, cut: list[list[Indices]], chunks: range) -> Pool:
        import numpy as np

        from metabench.suites.episode_draw import Pool

        ways = len(dataset.classes)
        parts = [cut[c][chunk] for chunk in chunks for c in range(ways)]
        tests = [len(part) * self.test_percent // 100 for part in parts]
        return Pool(
            classes=np.tile(np.arange(ways), len(chunks)),
            names=tuple(
                f"{dataset.classes[c]} (chunk {chunk})" for chunk in chunks for c in range(ways)
            ),
            support=tuple(p[: len(p) - t] for p, t in zip(parts, tests, strict=True)),
            query=tuple(p[len(p) - t :] for p, t in zip(parts, tests, strict=True)),
            groups=tuple(np.arange(ways) + i * ways for i in range(len(chunks))),
        )
