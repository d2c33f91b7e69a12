"""Budgets: the amount of meta-training, and the number of episodes that are scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from metabench.errors import UsageError, unknown
from metabench.learner import DEFAULT_BUDGETS, PRESETS, Algorithm

SMOKE_EPISODES = 100


@dataclass(frozen=True)
class Budget:
    """A budget of meta-training: a preset, or the same amount for every algorithm.

    Attributes:
        name: "smoke", "standard", "paper", "tasks=N" or "seconds=S".
        unit: what is limited; "preset" means outer updates that the algorithm declares.
        amount: of tasks or seconds.
    """

    name: str
    unit: Literal["preset", "tasks", "seconds"]
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a budget as written on the command line.

        Raises:
            UsageError: it is neither a preset nor tasks=N nor seconds=S.
        """
        unit, equals, amount = text.partition("=")
        if not equals:
            if text not in PRESETS:
                raise unknown("budget", text, PRESETS, "Or write tasks=N or seconds=S.")
            return cls(text, "preset")
        try:
            value = float(int(amount)) if unit == "tasks" else float(amount)
        except (ValueError, OverflowError):
            value = -1.0
        if unit not in ("tasks", "seconds") or not 0 < value < math.inf:
            raise UsageError(f"budget '{text}': write tasks=N or seconds=S with a positive number")
        written = repr(value).removesuffix(".0")  # exact: the name is part of a cell's identity
        return cls(f"{unit}={written}", "tasks" if unit == "tasks" else "seconds", value)

    def updates(self, algorithm: Algorithm, tasks_per_step: int) -> int | None:
        """Return the outer updates of an episodic learner; None if only time limits them."""
        if self.unit == "preset":
            return {**DEFAULT_BUDGETS, **algorithm.budgets}[self.name]
        if self.unit == "tasks":
            return math.ceil(self.amount / tasks_per_step)
        return None

    @property
    def seconds(self) -> float | None:
        """Seconds of meta-training; None if they are not limited."""
        return self.amount if self.unit == "seconds" else None

    @property
    def tasks(self) -> int | None:
        """Training tasks; None if they are not limited."""
        return int(self.amount) if self.unit == "tasks" else None

    def scored(self, episodes: int) -> int:
        """Return the number of a suite's test episodes that are scored."""
        return min(episodes, SMOKE_EPISODES) if self.name == "smoke" else episodes

    @property
    def timing_seconds(self) -> float:
        """Time limit in seconds of warm-up and of sampling, in each timing mode."""
        return 0.25 if self.name == "smoke" else 5.0

    @property
    def probed_episodes(self) -> int:
        """Number of test episodes answered again to measure what answers depend on."""
        return 2 if self.name == "smoke" else 4

    @property
    def validation_episodes(self) -> int:
        """Number of validation episodes for each point of the learning curve."""
        return 20 if self.name == "smoke" else 200
