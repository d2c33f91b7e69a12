"""Features of test images, which come up in many episodes, had once for each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Embed = Callable[[Tensor], Tensor]

_BYTES = 2**28  # of examples and features
_ENTRY_BYTES = 200  # of Python's own for each example
_ODD = 0x9E3779B97F4A7C15  # any odd number will do
_ASKED_AGAIN = 2  # examples, whenever it is checked whether features have moved
_MOVED = 1e-4  # of the largest feature; rounding moves them by less


class FeatureCache:
    """A learner's `embed`, which runs once for each distinct example.

    An example is found by a fingerprint of its bits, and then compared with the one that was
    found, bit for bit: features are never another example's.

    Args:
        embed: [N, *input_shape] -> [N, ...], each row from its own example alone.
        input_shape: shape of one example.
        limit: bytes to keep; examples beyond it are embedded whenever they are asked for.

    Attributes:
        calls: how often it was asked.
    """

    def __init__(self, embed: Embed, input_shape: Sequence[int], limit: int = _BYTES) -> None:
        self._embed, self._shape, self._limit = embed, tuple(input_shape), limit
        self._places: dict[int, int] = {}  # where the example of a fingerprint stands
        self._examples: _Rows | None = None
        self._features: _Rows | None = None
        self._checks = 0
        self.calls = 0

    def __len__(self) -> int:
        """Examples that are kept."""
        return len(self._examples or ())

    def __call__(self, x: Tensor) -> Tensor:
        """Features [..., D] of examples [..., *input_shape]."""
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
        """Whether some of what is kept, embedded anew without the rest, has other features now.

        Every call takes other examples. It is so if an example's features hang on its company,
        or if the learner has changed since.
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
        """What is kept for each example; those that are not kept are embedded."""
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
    """Rows [n, ...] one behind another, in memory that doubles when it is full."""

    def __init__(self, first: Tensor, room: int) -> None:
        self.room = room  # rows at most; what goes beyond is left out
        self._count = 0
        self._memory = first[:0]
        self.add(first)

    def __len__(self) -> int:
        return self._count

    @torch.inference_mode(False)  # else rows that come later could not be written
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
    """A number for each row of integers [N, W]: equal rows have equal ones, int64 [N]."""
    powers = np.cumprod(np.full(bits.shape[1], _ODD, dtype=np.uint64))  # modulo 2^64
    return (bits * torch.from_numpy(powers.view(np.int64)).to(bits.device)).sum(dim=1)


def _bits(examples: Tensor) -> Tensor:
    """Examples [N, ...] as rows of integers [N, W], as wide as goes."""
    rows = examples.flatten(1)
    wide = torch.int64 if _row_bytes(rows) % 8 == 0 else torch.int32
    return rows.view(wide)


def _row_bytes(rows: Tensor) -> int:
    return math.prod(rows.shape[1:]) * rows.element_size()
