"""The check, in float64, that contenders compute the same before they are timed.

In float32, random tasks are chaotic at a step size of 0.4: contenders that do the same differ by
several percent, and none of them is wrong.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.options import Options, Refused
from benchmarks.peers import PLAIN, admit
from benchmarks.rounds import OURS
from benchmarks.setting import Setting

TOLERANCE = 1e-10
TASKS = 9  # more than go through the network at once, and an odd number of them

CONTENDERS = {
    OURS: "benchmarks.ours:Ours",
    PLAIN: "benchmarks.peers.plain:PlainLoop",
    "higher": "benchmarks.peers.higher:Higher",
    "learn2learn": "benchmarks.peers.learn2learn:Learn2learn",
}


def build(who: str, setting: Setting) -> Any:
    """Build the contender for MAML of that name."""
    module, _, attribute = CONTENDERS[who].partition(":")
    return getattr(importlib.import_module(module), attribute)(setting)


def meta_gradient(who: str, setting: Setting) -> list[Tensor]:
    """Return the gradient that a contender's outer update follows."""
    contender = build(who, setting)
    contender.meta_step(setting.episodes())
    return [value.grad for value in contender.parameters()]


def answers(who: str, setting: Setting) -> list[Tensor]:
    """Return a contender's predictions after adapting."""
    return [build(who, setting).answer(setting.episodes()).detach()]


def check(what: str, setting: Setting, against: Sequence[str], options: Options) -> None:
    """Refuse to measure unless all contenders compute the same in float64.

    Args:
        what: "meta-gradient" or "logits".
        setting: the case; only some of its tasks are used.
        against: the peers.
        options: name the folder of the peers.

    Raises:
        Refused: one of them differs from the plain loop.
    """
    admit(options.peers)
    found = {"meta-gradient": meta_gradient, "logits": answers}[what]
    small = replace(setting, double=True, tasks=min(TASKS, setting.tasks))
    options.say(f"{setting}: {what} in float64")
    names = [PLAIN, OURS, *(name for name in against if name != PLAIN)]
    agree(f"{what} at {setting}", {name: found(name, small) for name in names})


def agree(
    what: str, found: Mapping[str, Sequence[Tensor]], tolerance: float = TOLERANCE
) -> dict[str, float]:
    """Return the relative difference of each contender's tensors from the plain loop's.

    Raises:
        Refused: one of them is further off than the tolerance.
    """
    off = {name: relative_difference(values, found[PLAIN]) for name, values in found.items()}
    for name, difference in off.items():
        if not difference <= tolerance:  # nor NaN
            raise Refused(f"{what}: {name} differs from the {PLAIN} by {difference:.1e} relatively")
    return off


def relative_difference(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Divide the norm of the difference by the norm of the others, all tensors as one vector."""
    one, two = (torch.cat([t.detach().flatten() for t in tensors]) for tensors in (some, others))
    return float((one - two).norm() / two.norm())
