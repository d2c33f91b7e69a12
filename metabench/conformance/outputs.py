"""When outputs that should be equal are."""

from __future__ import annotations

import torch
from torch import Tensor

# Sums in another order differ in their last digits, and inner loops enlarge that.
_DEVIATION = 1e-3  # median over queries, by the spread of all outputs
_FLIPS = 0.01  # share of queries that get another class, where their outputs moved as well


def difference(one: Tensor, other: Tensor) -> str:
    """How far outputs [..., Q, way] differ, in words; "" if only by rounding."""
    a, b = (torch.nan_to_num(x.double(), 1e30, 1e30, -1e30) for x in (one, other))
    spread = float(a.std()) if a.numel() > 1 else 0.0
    moved = (a - b).abs().amax(dim=-1) / (spread or 1.0)
    flipped = (a.argmax(dim=-1) != b.argmax(dim=-1)) & (moved > _DEVIATION)
    median, share = float(moved.median()), float(flipped.double().mean())
    if median <= _DEVIATION and share <= _FLIPS:
        return ""
    return (
        f"outputs move by {median:.2g} of their spread (median), {share:.0%} of the queries get "
        "another class"
    )
