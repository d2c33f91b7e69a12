"""Draw episodes from pools: entries (a class and its images) in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metabench.data.dataset import Indices
from metabench.errors import DataError
from metabench.suites.random_words import Words, below, choose, episode_words, permute, stream_key


class Drawn(NamedTuple):
    """E episodes as image indices; E is the first dimension of every array.

    Attributes:
        classes: [E, way] class id of each label.
        support: [E, way * shot] image indices, label by label.
        support_y: [E, way * shot] labels in 0..way-1.
        query: [E, way * query] image indices in random order.
        query_y: [E, way * query] labels.
    """

    classes: Indices
    support: Indices
    support_y: Indices
    query: Indices
    query_y: Indices


@dataclass(frozen=True, eq=False)
class Pool:
    """Entries to draw episodes from. An episode takes one group, then `way` of its entries.

    Attributes:
        classes: [P] the class id of each entry.
        names: [P] the entries' names, for messages.
        support: for each entry, the images that support examples are drawn from.
        query: the same for queries; None: both are drawn from `support`, never the same image.
        groups: for each group, its entries.
        in_turn: each episode takes one entry, and all entries are used once, in a random order,
            before any is used again. Two episodes on one function would have almost the same
            score, and an interval must not count them as two.
    """

    classes: Indices
    names: tuple[str, ...]
    support: tuple[Indices, ...]
    query: tuple[Indices, ...] | None
    groups: tuple[Indices, ...]
    in_turn: bool = False

    @property
    def images(self) -> Indices:
        """Every image that an episode can contain, ascending."""
        members = np.concatenate([*self.support, *(self.query or ())])
        present = np.zeros(members.max() + 1, dtype=bool)
        present[members] = True
        return np.flatnonzero(present)

    def spare(self, shot: int) -> Indices:
        """Count, for each entry, the images that are left for queries."""
        return self._support[1] - shot if self.query is None else self._query[1]

    def large_enough(self, shot: int, query: int) -> Pool:
        """Return the pool without the entries that have too few images for such episodes."""
        large = (self.spare(shot) >= query) & (self._support[1] >= shot)
        if large.all():
            return self
        kept = np.flatnonzero(large)
        position = np.cumsum(large) - 1
        return replace(
            self,
            classes=self.classes[kept],
            names=tuple(self.names[entry] for entry in kept),
            support=tuple(self.support[entry] for entry in kept),
            query=None if self.query is None else tuple(self.query[entry] for entry in kept),
            groups=tuple(position[group[large[group]]] for group in self.groups),
        )

    def check(self, way: int, shot: int, query: int, where: str) -> None:
        """Raise a DataError with the number missing if there are too few classes or images."""
        for group in self.groups:
            if len(group) < way:
                raise DataError(
                    f"{where}: {way}-way episodes need {way} classes, there are {len(group)} "
                    f"({way - len(group)} missing); ask for a smaller way"
                )
        needs = (
            [(self.support, shot + query, f"{shot} support and {query} query")]
            if self.query is None
            else [(self.support, shot, f"{shot} support"), (self.query, query, f"{query} query")]
        )
        for images, need, words in needs:
            for name, members in zip(self.names, images, strict=True):
                if len(members) < need:
                    raise DataError(
                        f"{where}: class '{name}' has {len(members)} images, {words} images need "
                        f"{need} ({need - len(members)} missing)"
                    )

    def draw(self, key: int, first: int, count: int, way: int, shot: int, query: int) -> Drawn:
        """Draw episodes first..first+count-1 of the stream `key`; call `check` first."""
        per_class = shot + query
        words = episode_words(key, first, count, 1 + way + way * per_class + way * query)
        group_words, class_words, image_words, order_words = np.split(
            words, np.cumsum([1, way, way * per_class]), axis=1
        )
        if self.in_turn:
            entries = self._turns(key, first, count)
        else:
            group_start, group_size, members = self._groups
            group = below(group_words[:, 0], len(self.groups))
            picks = choose(class_words, group_size[group])
            entries = members[group_start[group][:, None] + picks]  # [E, way]

        image_words = image_words.reshape(count * way, per_class)
        flat = entries.reshape(-1)
        if self.query is None:
            both = _pick(image_words, flat, *self._support)
            support, queries = both[:, :shot], both[:, shot:]
        else:
            support = _pick(image_words[:, :shot], flat, *self._support)
            queries = _pick(image_words[:, shot:], flat, *self._query)

        labels = np.arange(way)
        order = permute(order_words)
        query_y = np.broadcast_to(labels.repeat(query), order.shape)
        return Drawn(
            classes=self.classes[entries],
            support=support.reshape(count, way * shot),
            support_y=np.tile(labels.repeat(shot), (count, 1)),
            query=np.take_along_axis(queries.reshape(count, way * query), order, axis=1),
            query_y=np.take_along_axis(query_y, order, axis=1),
        )

    def reindexed(self, positions: Indices) -> Pool:
        """Return the same pool for another image array, in which image i is at positions[i]."""
        query = None if self.query is None else tuple(positions[m] for m in self.query)
        return replace(self, support=tuple(positions[m] for m in self.support), query=query)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the pool as named arrays, for `numpy.savez`; `from_arrays` is the inverse."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "classes": self.classes,
            "names": np.array(self.names),
            "in_turn": np.array(self.in_turn),
        }
        for name in ("support", "query", "groups"):
            part = getattr(self, name)
            if part is not None:
                arrays[name], arrays[f"{name}_sizes"] = np.concatenate(part), _sizes(part)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Pool:
        """Make a pool from the arrays that `to_arrays` returned."""

        def part(name: str) -> tuple[Indices, ...]:
            return tuple(np.split(arrays[name], np.cumsum(arrays[f"{name}_sizes"])[:-1]))

        return cls(
            classes=arrays["classes"],
            names=tuple(str(name) for name in arrays["names"]),
            support=part("support"),
            query=part("query") if "query" in arrays else None,
            groups=part("groups"),
            in_turn=bool(arrays["in_turn"]),
        )

    def _turns(self, key: int, first: int, count: int) -> Indices:
        """Return the entry of each of the episodes first..first+count-1, [E, 1].

        Every pass over the entries has an order of its own, so that other entries share a
        training step in the next pass.
        """
        entries = len(self.classes)
        passes, places = np.divmod(np.arange(first, first + count), entries)
        turns = [_order(key, int(p), entries)[places[passes == p]] for p in np.unique(passes)]
        return np.concatenate(turns)[:, None]

    @cached_property
    def _groups(self) -> tuple[Indices, Indices, Indices]:
        return _ragged(self.groups)

    @cached_property
    def _support(self) -> tuple[Indices, Indices, Indices]:
        return _ragged(self.support)

    @cached_property
    def _query(self) -> tuple[Indices, Indices, Indices]:
        return _ragged(self.query or ())


@lru_cache(maxsize=8)  # an order is used by thousands of training steps
def _order(key: int, number: int, entries: int) -> Indices:
    """Return the order of one pass over the entries."""
    order_key = stream_key(str(key), "order")
    order: Indices = permute(episode_words(order_key, number, 1, entries))[0]
    return order


def _sizes(part: Sequence[Indices]) -> Indices:
    return np.array([len(members) for members in part], dtype=np.int64)


def _ragged(part: Sequence[Indices]) -> tuple[Indices, Indices, Indices]:
    """Return rows of different lengths as (starts, lengths, all rows in one array)."""
    sizes = _sizes(part)
    return np.cumsum(sizes) - sizes, sizes, np.concatenate(part)


def _pick(
    words: Words, entries: Indices, start: Indices, size: Indices, members: Indices
) -> Indices:
    """Return distinct images of each entry, one per word: [R, k]."""
    images: Indices = members[start[entries][:, None] + choose(words, size[entries])]
    return images
