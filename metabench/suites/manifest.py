"""The manifest of a suite: its episodes, identified by a digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metabench.data.dataset import Indices


@dataclass(frozen=True, eq=False)
class Manifest:
    """E episodes over one dataset; indices are into its image array.

    Attributes:
        content: the content digest of the dataset that indices refer to.
        way: classes per episode.
        shot: support examples per class.
        per_class: queries per class.
        classes: [E, way] class id of each label.
        support: [E, way * shot] images.
        support_y: [E, way * shot] labels in 0..way-1.
        query: [E, way * per_class] images, in the order a learner gets them.
        query_y: [E, way * per_class] labels.
    """

    content: str
    way: int
    shot: int
    per_class: int
    classes: Indices
    support: Indices
    support_y: Indices
    query: Indices
    query_y: Indices

    def __len__(self) -> int:
        return len(self.support)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 hex digest of all attributes."""
        header = [self.content, self.way, self.shot, self.per_class, len(self)]
        digest = hashlib.sha256(json.dumps(header).encode())
        for array in (self.classes, self.support, self.support_y, self.query, self.query_y):
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return digest.hexdigest()
