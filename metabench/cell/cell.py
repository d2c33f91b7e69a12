"""A cell: one algorithm with its parameters, on one suite, with one seed and budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metabench import address
from metabench.address import Value
from metabench.cell.budget import Budget
from metabench.errors import UsageError
from metabench.learner import Algorithm, Kind, TrainingEpisodes
from metabench.results.store import cell_path
from metabench.suites.suite import Suite

if TYPE_CHECKING:
    from metabench.plugins.code_digest import Code

# Parameters that every episodic learner takes, because metabench draws the episodes.
_TRAINING = {
    "train_way": "way",
    "train_shot": "shot",
    "train_query": "query",
    "tasks_per_step": "tasks_per_step",
}


@dataclass(frozen=True, eq=False)
class Configured:
    """An algorithm with every parameter resolved.

    Attributes:
        algorithm: the catalogue entry.
        provider: the plugin that provides it.
        params: the parameters that `build` is called with.
        chosen: parameters that differ from their defaults, training episodes included.
        training: the training episodes it asks for.
    """

    algorithm: Algorithm
    provider: str
    params: Mapping[str, Value]
    chosen: Mapping[str, Value]
    training: TrainingEpisodes

    @property
    def address(self) -> str:
        """The algorithm as users write it."""
        return address.write(self.algorithm.name, self.chosen)

    @property
    def transductive(self) -> bool:
        """True if it declares that its answer to a query depends on the other queries."""
        normalised = any("bn=episode" in str(value) for value in self.params.values())
        return normalised or "transductive" in self.algorithm.tags


def configure(
    algorithm: Algorithm,
    given: Mapping[str, str],
    provider: str,
    backbones: Mapping[str, Mapping[str, Value]] | None = None,
) -> Configured:
    """Resolve the parameters that a user gave.

    Args:
        algorithm: the catalogue entry.
        given: parameters as text.
        provider: the plugin that provides it.
        backbones: the declared parameters of each backbone, so that two spellings of one backbone
            are one method.

    Raises:
        UsageError: a parameter is unknown or has a wrong value.
    """
    declared = algorithm.training
    own = {key: getattr(declared, field) or 0 for key, field in _TRAINING.items()}
    defaults = {**algorithm.params, **own}
    resolved = address.resolve(algorithm.name, given, defaults)
    for key in _TRAINING:
        if key in given and int(resolved[key]) < 1:
            raise UsageError(f"{algorithm.name}[{key}={given[key]}]: must be at least 1")
    for key in given:
        resolved[key] = _nested(resolved[key], defaults[key], backbones or {})
    return Configured(
        algorithm=algorithm,
        provider=provider,
        params={key: resolved[key] for key in algorithm.params},
        chosen={key: value for key, value in resolved.items() if value != defaults[key]},
        training=TrainingEpisodes(
            **{field: int(resolved[key]) or None for key, field in _TRAINING.items()}  # type: ignore[arg-type]
        ),
    )


def _nested(value: Value, default: Value, backbones: Mapping[str, Mapping[str, Value]]) -> Value:
    """Return the address of a backbone in its normal form, and any other value as it is.

    Parameters that the algorithm sets for its own backbone stay: `maml[backbone=conv4[pool=false]]`
    changes the pooling of maml's `conv4[bn=support]` and nothing else.
    """
    if not isinstance(value, str) or not isinstance(default, str):
        return value
    try:
        own_name, own = address.parse(default)
    except UsageError:
        return value
    if own_name not in backbones:
        return value
    name, given = address.parse(value)
    if name not in backbones:
        return value
    own = own if name == own_name else {}
    declared = backbones[name]
    own_values, values = (address.resolve(name, one, declared) for one in (own, {**own, **given}))
    values = {key: _nested(values[key], declared[key], backbones) for key in [*own, *values]}
    if values == own_values and own_name == name:
        return default
    kept = {key: one for key, one in values.items() if key in own or one != declared[key]}
    return address.write(name, kept)


@dataclass(frozen=True, eq=False)
class Cell:
    """The work that one learner process does and one result file describes.

    Attributes:
        suite: the test episodes.
        configured: the algorithm.
        seed: the seed of the learner and of its training episodes.
        budget: the amount of meta-training.
        device: "cpu", "cuda", "cuda:1", ...
        train_on: the suite whose base data is used in place of the suite's own.
        tasks_at_once: tasks of an outer update computed together, to repeat a stored result; 0:
            as the learner chooses.
        code: the code that it runs; None where nothing is stored.
    """

    suite: Suite
    configured: Configured
    seed: int
    budget: Budget
    device: str = "cpu"
    train_on: Suite | None = None
    tasks_at_once: int = 0
    code: Code | None = None

    @property
    def kind(self) -> Kind:
        """The kind of task that the suite poses."""
        return self.suite.kind

    @property
    def base(self) -> Suite:
        """The suite whose base data is used."""
        return self.train_on or self.suite

    @property
    def suite_code(self) -> tuple[str, ...]:
        """The code that makes its data and episodes, each as "module:attr"."""
        return tuple(dict.fromkeys((*self.suite.code, *self.base.code)))

    @property
    def device_type(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]

    @property
    def path(self) -> Path:
        """The result file, relative to the results folder."""
        chosen = dict(self.configured.chosen)
        if self.train_on is not None:
            chosen["train_on"] = self.train_on.name
        return cell_path(
            self.suite.name,
            self.configured.algorithm.name,
            chosen,
            self.seed,
            self.budget.name,
            self.device_type,
        )

    def __str__(self) -> str:
        return f"{self.suite.name} {self.configured.address} seed {self.seed}"


def other_kind(cell: Cell) -> str:
    """Return the reason why an algorithm for another kind of suite does not run."""
    return f"it does not support {cell.kind}"
