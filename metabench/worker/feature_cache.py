"""A cache of the features of test images, which recur in many episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Embed = Callable[[Tensor], Tensor]

_BYTES = 2**28  # of examples and features
_ENTRY_BYTES = 200  # Python's overhead for each example
_MULTIPLIER = 0x9E3779B97F4A7C15  # any odd number will do
_ASKED_AGAIN = 2  # examples that each check for changed features embeds again
_MOVED = 1e-4  # relative to the largest feature; rounding changes features by less


class FeatureCache:
    """A learner's `embed`, computed once for each distinct example.

    An example is looked up by a fingerprint of its bits and then compared, bit for bit, with
    the one that was found: features are never those of another example.

    Args:
        embed: [N, *input_shape] -> [N, ...], each row computed from its own example alone.
        input_shape: shape of one example.
        limit: bytes to keep; examples beyond it are embedded at every call.

    Attributes:
        calls: number of calls.
    """

    def __init__(self, embed: Embed, input_shape: Sequence[int], limit: int = _BYTES) -> None:
        self._embed, self._shape, self._limit = embed, tuple(input_shape), limit
        self._places: dict[int, int] = {}  # fingerprint -> row of its example
        self._examples: _Rows | None = None
        self._features: _Rows | None = None
        self._checks = 0
        self.calls = 0

    def __len__(self) -> int:
        """Return the number of examples kept."""
        return len(self._examples or ())

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features [..., D] of examples [..., *input_shape]."""
        self.calls += 1
        examples = x.reshape(-1, *self._shape)
        keys = fingerprints(_bits(examples)).tolist()
        new: dict[int, int] = {}
        for n, key in enumerate(keys):
            if key not in self._places:
                new.setdefault(key, n)
        if new:
            self._add(list(new), examples[list(new.values())])
        features = self._find(keys, examples)
        return features.reshape(*x.shape[: x.ndim - len(self._shape)], *features.shape[1:])

    def moved(self) -> bool:
        """Embed a few kept examples again and return whether their features have changed.

        Every call takes different examples. Features change if they depend on the rest of the
        batch, or if the learner has changed since.
        """
        if self._examples is None or self._features is None:
            return False
        kept = len(self._examples)
        places = self._checks + torch.arange(_ASKED_AGAIN) * (kept // _ASKED_AGAIN)
        self._checks += 1
        before = self._features.at(places % kept)
        now = self._run(self._examples.at(places % kept))
        largest = float(before.abs().nan_to_num(0, 0, 0).max())
        return not torch.allclose(now, before, rtol=0, atol=_MOVED * largest)

    def _add(self, keys: list[int], examples: Tensor) -> None:
        """Embed examples and keep them, as far as there is room."""
        first = len(self)
        if self._examples is None or self._features is None:
            features = self._run(examples)
            each = _ENTRY_BYTES + _row_bytes(examples) + _row_bytes(features)
            room = max(1, self._limit // each)
            self._examples, self._features = _Rows(examples, room), _Rows(features, room)
        elif first < self._examples.room:
            self._features.add(self._run(examples))
            self._examples.add(examples)
        self._places.update(zip(keys, range(first, len(self)), strict=False))

    def _find(self, keys: list[int], examples: Tensor) -> Tensor:
        """Return the kept features of each example; embed the examples that are not kept."""
        assert self._examples is not None
        assert self._features is not None
        places = torch.tensor([self._places.get(key, 0) for key in keys])
        features = self._features.at(places)
        asked, found = _bits(examples), _bits(self._examples.at(places))
        if not torch.equal(asked, found):
            other = (asked != found).any(dim=1)
            features[other.to(features.device)] = self._run(examples[other])
        return features

    @torch.no_grad()
    def _run(self, examples: Tensor) -> Tensor:
        features = self._embed(examples)
        if len(features) != len(examples):
            raise ValueError(f"{len(features)} rows of features for {len(examples)} examples")
        return features


class _Rows:
    """Rows [n, ...] in one block of memory, which doubles when it is full."""

    def __init__(self, first: Tensor, room: int) -> None:
        self.room = room  # maximum number of rows; further ones are dropped
        self._count = 0
        self._memory = first[:0]
        self.add(first)

    def __len__(self) -> int:
        return self._count

    @torch.inference_mode(False)  # otherwise later rows could not be written
    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        rows = rows[: self.room - self._count]
        end = self._count + len(rows)
        if end > len(self._memory):
            size = min(self.room, max(end, 2 * len(self._memory)))
            grown = rows.new_empty(size, *rows.shape[1:])
            grown[: self._count] = self._memory[: self._count]
            self._memory = grown
        self._memory[self._count : end] = rows
        self._count = end

    def at(self, places: Tensor) -> Tensor:
        return self._memory.index_select(0, places.to(self._memory.device))


def fingerprints(bits: Tensor) -> Tensor:
    """Return a number for each row of integers [N, W], the same for equal rows: int64 [N]."""
    powers = np.cumprod(np.full(bits.shape[1], _MULTIPLIER, dtype=np.uint64))  # modulo 2^64
    return (bits * torch.from_numpy(powers.view(np.int64)).to(bits.device)).sum(dim=1)


def _bits(examples: Tensor) -> Tensor:
    """Return examples [N, ...] as rows of the widest integers that fit, [N, W]."""
    rows = examples.flatten(1)
    wide = torch.int64 if _row_bytes(rows) % 8 == 0 else torch.int32
    return rows.view(wide)


def _row_bytes(rows: Tensor) -> int:
    return math.prod(rows.shape[1:]) * rows.element_size()
