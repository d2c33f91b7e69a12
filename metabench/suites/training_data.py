"""The data that a learner may see before it adapts: base and validation, nothing novel."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metabench.data.dataset import Dataset, Examples, Indices, Targets
from metabench.errors import DataError
from metabench.files import sha256
from metabench.suites.episode_draw import Drawn, Pool
from metabench.suites.random_words import stream_key

_BASE, _VALIDATION = "base", "validation"
_IMAGES, _POOLS, _DIGESTS = "images.npy", "pools.npz", "sha256.json"  # the files of `save`


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Base and validation images with the pools to draw training episodes from.

    Attributes:
        content: the dataset's content digest, part of the key of every draw.
        protocol: the protocol's name, also part of it.
        images: [M, *shape] as in the dataset, base images first.
        labels: [B] class of each base image in 0..classes-1, for learners with `fit`.
        classes: number of base classes.
        base: pool of training episodes.
        validation: pool of validation episodes, or None.
        targets: [M, 1] the values to be predicted if classes are functions, otherwise None.
    """

    content: str
    protocol: str
    images: Examples
    labels: Indices
    classes: int
    base: Pool
    validation: Pool | None
    targets: Targets | None = None

    @classmethod
    def of(cls, dataset: Dataset, protocol: str, pools: dict[str, Pool]) -> TrainingData:
        """Select the part of a dataset that a learner may see.

        Raises:
            DataError: there are no base classes.
        """
        if _BASE not in pools:
            raise DataError(f"dataset {dataset.name} has no base classes to train on")
        base, validation = pools[_BASE], pools.get(_VALIDATION)
        base_images = base.images
        images = base_images
        if validation is not None:
            unseen = np.ones(len(dataset.images), dtype=bool)
            unseen[base_images] = False
            others = validation.images
            images = np.concatenate([images, others[unseen[others]]])
        positions = np.full(len(dataset.images), -1, dtype=np.int64)
        positions[images] = np.arange(len(images))
        classes = np.unique(base.classes)
        return cls(
            content=dataset.content,
            protocol=protocol,
            images=dataset.images[images],
            labels=np.searchsorted(classes, dataset.labels[base_images]),
            classes=len(classes),
            base=base.reindexed(positions),
            validation=None if validation is None else validation.reindexed(positions),
            targets=None if dataset.targets is None else dataset.targets[images],
        )

    @property
    def digest(self) -> str:
        """The SHA-256 hex digest of the data and of the rule that draws episodes from it."""
        digest = hashlib.sha256(f"{self.content}\n{self.protocol}\n".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        if self.targets is not None:
            digest.update(np.ascontiguousarray(self.targets).data)
        return digest.hexdigest()

    def training(self, seed: int, first: int, count: int, way: int, shot: int, query: int) -> Drawn:
        """Return training episodes first..first+count-1 of the stream of `seed`.

        Classes with too few images for such episodes are left out.
        """
        key = self._key(_BASE, way, shot, query, seed)
        pool = self.base.large_enough(shot, query)
        return pool.draw(key, first, count, way, shot, query)

    def validating(self, count: int, way: int, shot: int, query: int) -> Drawn | None:
        """Return the first `count` validation episodes, the same for every learner and seed.

        Classes with too few images for such episodes are left out.
        """
        if self.validation is None:
            return None
        pool = self.validation.large_enough(shot, query)
        key = self._key(_VALIDATION, way, shot, query)
        return pool.draw(key, 0, count, way, shot, query)

    def _key(self, split: str, way: int, shot: int, query: int, seed: int | None = None) -> int:
        return stream(self.content, self.protocol, split, way, shot, query, seed)

    def save(self, folder: Path) -> None:
        """Write to an existing folder, for another process to `load`."""
        np.save(folder / _IMAGES, self.images)
        arrays = {f"base_{k}": v for k, v in self.base.to_arrays().items()}
        if self.validation is not None:
            arrays |= {f"validation_{k}": v for k, v in self.validation.to_arrays().items()}
        if self.targets is not None:
            arrays["targets"] = self.targets
        np.savez(
            folder / _POOLS,
            keys=np.array([self.content, self.protocol]),
            labels=self.labels,
            classes=np.array(self.classes),
            **arrays,  # type: ignore[arg-type]
        )
        digests = {name: sha256(folder / name) for name in (_IMAGES, _POOLS)}
        (folder / _DIGESTS).write_text(json.dumps(digests))

    @classmethod
    def load(cls, folder: str | Path) -> TrainingData:
        """Read the files that `save` wrote; images are a read-only memory map.

        Raises:
            DataError: a file is not as it was written.
        """
        folder = Path(folder)
        try:
            digests = json.loads((folder / _DIGESTS).read_text())
            same = digests == {name: sha256(folder / name) for name in (_IMAGES, _POOLS)}
        except (OSError, ValueError):
            same = False
        if not same:
            raise DataError(f"the training data in {folder} has changed or is gone: run again")
        with np.load(folder / _POOLS) as arrays:

            def pool(prefix: str) -> Pool:
                return Pool.from_arrays(
                    {k.removeprefix(prefix): arrays[k] for k in arrays if k.startswith(prefix)}
                )

            return cls(
                content=str(arrays["keys"][0]),
                protocol=str(arrays["keys"][1]),
                images=np.load(folder / _IMAGES, mmap_mode="r"),
                labels=arrays["labels"],
                classes=int(arrays["classes"]),
                base=pool("base_"),
                validation=pool("validation_") if "validation_classes" in arrays else None,
                targets=arrays.get("targets"),
            )


def stream(
    content: str, protocol: str, split: str, way: int, shot: int, query: int, seed: int | None
) -> int:
    """Return the key of one stream of episodes."""
    shape = f"{way}w{shot}s{query}q"
    return stream_key(content, protocol, split, shape, "" if seed is None else str(seed))
