"""The protocol of a manifest file: its episodes are listed, not drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from metabench.data.dataset import Dataset
from metabench.data.manifest_file import Listing
from metabench.suites.episode_draw import Pool
from metabench.suites.manifest import Manifest
from metabench.suites.random_words import episode_words, permute, stream_key


@dataclass(frozen=True, eq=False)
class Listed:
    """Listed episodes; there is no base data.

    Files often list queries class by class, which would reveal their labels to a learner. So
    queries are put into a random order, drawn from the list's own content. Support sets are sorted
    by label, as in every suite.
    """

    listing: Listing

    name: ClassVar[str] = "listed-1"

    def pools(self, dataset: Dataset) -> dict[str, Pool]:
        return {}

    def manifest(self, dataset: Dataset) -> Manifest:
        """Return the listed episodes: support sets by label, queries in random order."""
        li = self.listing
        content = hashlib.sha256(np.ascontiguousarray(li.query).tobytes()).hexdigest()
        key = stream_key(dataset.content, self.name, content)
        order = permute(episode_words(key, 0, *li.query.shape))
        by_label = np.argsort(li.support_y, axis=1, kind="stable")
        return Manifest(
            content=dataset.content,
            way=li.way,
            shot=li.shot,
            per_class=li.queries,
            classes=np.broadcast_to(np.arange(li.way), (len(li.support), li.way)),
            support=np.take_along_axis(li.support, by_label, axis=1),
            support_y=np.take_along_axis(li.support_y, by_label, axis=1),
            query=np.take_along_axis(li.query, order, axis=1),
            query_y=np.take_along_axis(li.query_y, order, axis=1),
        )
