"""Published lists of base, validation and novel classes, which ship as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metabench.data.dataset import SPLITS, Indices
from metabench.data.sealed import json_digest
from metabench.errors import DataError

FOLDER = Path(__file__).parent / "splits"


@dataclass(frozen=True)
class Split:
    """A published list of classes.

    Attributes:
        name: the name of the list.
        source: where it was published.
        members: for each split, classes or whole groups ("Greek", "Gurmukhi/character42").
        digest: SHA-256 hex digest of the list.
    """

    name: str
    source: str
    members: Mapping[str, Sequence[str]]
    digest: str

    def classes(self, names: Sequence[str]) -> dict[str, Indices]:
        """Return the class ids of each split; a member for a class overrides one for its group.

        Args:
            names: the classes, "group/class".

        Raises:
            DataError: the list and the classes do not match.
        """
        split_of = {member: split for split in SPLITS for member in self.members[split]}
        found: dict[str, list[int]] = {split: [] for split in SPLITS}
        used: set[str] = set()
        for i, name in enumerate(names):
            member = name if name in split_of else name.partition("/")[0]
            if member not in split_of:
                raise DataError(f"class {name} is not in the split {self.name}")
            used.add(member)
            found[split_of[member]].append(i)
        missing = sorted(split_of.keys() - used)
        if missing:
            raise DataError(f"the split {self.name} lists {missing[0]}, but no class has that name")
        return {split: np.array(ids, dtype=np.int64) for split, ids in found.items()}


def load_split(name: str) -> Split:
    """Load a list that comes with metabench, by its name."""
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    members = {split: tuple(content[split]) for split in SPLITS}
    return Split(content["name"], content["source"], members, json_digest(members))
