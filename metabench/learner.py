"""The contract between metabench and an algorithm.

An algorithm is one `Algorithm` (its catalogue entry) and one `Learner` (the object that is
meta-trained, adapts and predicts). Nothing here imports torch, so that catalogues load fast.
"""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from metabench import address
from metabench.address import Value
from metabench.errors import UsageError, unknown
from metabench.files import name_problem

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

Kind = Literal["classification", "regression"]
KINDS: tuple[Kind, ...] = ("classification", "regression")

Metric = Literal["accuracy", "mse"]
METRICS: tuple[Metric, ...] = ("accuracy", "mse")


def kind_of(metric: Metric) -> Kind:
    """Return the kind of task that is scored by a metric."""
    return "classification" if metric == "accuracy" else "regression"


class Support(NamedTuple):
    """The labelled examples of one task, or of T tasks with a leading dimension T.

    Attributes:
        x: [S, *shape] float32; images in [0, 1], ink = 1; S = way * shot.
        y: [S] int64 in 0..way-1, or [S, 1] float32 for regression.
    """

    x: Tensor
    y: Tensor


class Episode(NamedTuple):
    """One training task, as `Episodes` yields it."""

    support: Support
    query: Support


@dataclass(frozen=True)
class Episodes:
    """T training tasks at once, with labelled queries; iterating yields one `Episode` per task.

    Attributes:
        support: x [T, S, *shape], y [T, S] (or [T, S, 1]).
        query: x [T, Q, *shape], y [T, Q] (or [T, Q, 1]).
        way: classes per task; 1 for regression.
    """

    support: Support
    query: Support
    way: int

    def __len__(self) -> int:
        return len(self.support.x)

    def __iter__(self) -> Iterator[Episode]:
        for t in range(len(self)):
            yield Episode(
                Support(self.support.x[t], self.support.y[t]),
                Support(self.query.x[t], self.query.y[t]),
            )


class BaseData(Protocol):
    """All base examples at once, for learners with `fit`; metabench meters `batches`."""

    @property
    def x(self) -> Tensor:
        """All examples, [M, *shape] float32; images in [0, 1]."""

    @property
    def y(self) -> Tensor:
        """Their labels, [M] int64 in 0..classes-1; for regression values, [M, 1] float32."""

    @property
    def classes(self) -> int:
        """Number of base classes, or of base functions."""

    def split(self, every: int) -> tuple[BaseData, BaseData]:
        """Split in two: the second part holds every `every`-th example of each class."""

    def batches(self, size: int, epochs: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled minibatches until the cell's budget is spent.

        Args:
            size: examples per minibatch; the last one of an epoch may be smaller.
            epochs: number of passes through the data, which replaces the preset's number of
                updates; 0: as many as the budget allows.

        Yields:
            x [B, *shape] and y [B] (or [B, 1]), as in `x` and `y`. Each pair counts as one
            update.
        """

    def record(self, **values: float) -> None:
        """Add a point to the learning curve that the result shows."""


@dataclass(frozen=True)
class TaskSpec:
    """The task that a learner is built for.

    Attributes:
        input_shape: shape of one example, e.g. (1, 28, 28).
        way: classes per test episode (1 for regression).
        shot: support examples per class.
        kind: "classification" or "regression".
        device: a torch device string; everything a learner is given is on it.
        seed: the seed of everything random in a learner.
        backbones: the catalogue that `backbone` builds from, `Backbone` entries by name.
        tasks_at_once: number of tasks of an outer update that a learner working in parts
            computes together; 0: as many as it chooses.
    """

    input_shape: tuple[int, ...]
    way: int
    shot: int
    kind: Kind = "classification"
    device: str = "cpu"
    seed: int = 0
    # Any, not Backbone: messages hold a task without them and must resolve the annotation.
    backbones: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tasks_at_once: int = 0

    def backbone(self, text: str) -> nn.Module:
        """Build a backbone by its address, initialised from `seed`, on `device`.

        The module maps [N, *input_shape] to features [N, D]. Building it leaves torch's global
        generator unchanged.

        Raises:
            UsageError: there is no such backbone, or no such parameter.
        """
        import torch

        name, given = address.parse(text)
        if name not in self.backbones:
            raise unknown("backbone", name, self.backbones)
        spec: Backbone = self.backbones[name]
        params = spec.resolve(given)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would reseed accelerators too, which fork_rng does not restore here.
            # The seed differs from `generator`'s, so that a head drawn from that is independent.
            torch.default_generator.manual_seed(_seed_of("backbone", self.seed))
            module: nn.Module = load(spec.build)(self.input_shape, **params)
        return module.to(self.device)

    def generator(self) -> Generator:
        """Return a new CPU generator seeded with `seed`: the same draws at every call."""
        import torch

        return torch.Generator().manual_seed(int(self.seed))  # it may be one of NumPy's numbers


def _seed_of(stream: str, seed: int) -> int:
    digest = hashlib.sha256(f"{stream}/{seed}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


@dataclass(frozen=True)
class TrainingEpisodes:
    """The shape of the training episodes that an algorithm asks for; None: as in the suite.

    Attributes:
        way: classes per episode, at most the number of base classes.
        shot: support examples per class.
        query: query examples per class.
        tasks_per_step: episodes in one `meta_step`.
    """

    way: int | None = None
    shot: int | None = None
    query: int | None = None
    tasks_per_step: int = 1

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            value = address.plain(value)
            object.__setattr__(self, name, value)
            given = value is not None or name == "tasks_per_step"
            if given and (type(value) is not int or value < 1):
                raise UsageError(f"training episodes with {name}={value!r}: write 1 or more")


class Learner(ABC):
    """A learner of one task at a time: it adapts to a support set and predicts the queries.

    To be meta-trained, a learner also defines one of::

        def fit(self, base: BaseData) -> None               # closed form, pretraining
        def meta_step(self, episodes: Episodes) -> float    # one outer update -> its loss

    `adapt` is a pure function of the learner and the support set: if it needs a generator, it
    makes one with `task.generator()` at each call.

    A learner that computes an outer update in parts keeps the number of tasks in a part as
    `tasks_at_once`, and uses that of `task` if it is given: rounding depends on it.

    A learner whose features do not change at test may compute them in a method::

        def embed(self, x: Tensor) -> Tensor               # [N, *shape] -> features [N, D]

    Each row depends on its own example alone. When episodes are scored, metabench may answer
    `self.embed(x)` with features that it has kept, also for x [..., *shape]; never when they are
    timed or probed.
    """

    def __init__(self, task: TaskSpec) -> None:
        self.task = task

    @abstractmethod
    def adapt(self, support: Support) -> Any:
        """Return the state of one task from its support set, in any form that `predict` takes."""

    @abstractmethod
    def predict(self, state: Any, query_x: Tensor) -> Tensor:
        """Return logits [Q, way], or values [Q, 1], for queries [Q, *shape]."""


class BatchedLearner(Learner):
    """A learner whose methods take T tasks at once: x [T, S, *shape] -> logits [T, Q, way]."""


DEFAULT_BUDGETS: Mapping[str, int] = {"smoke": 50, "standard": 1000, "paper": 10000}
PRESETS = tuple(DEFAULT_BUDGETS)
# Names that users may write after every algorithm, or that a result's path holds as well.
RESERVED = ("train_way", "train_shot", "train_query", "tasks_per_step", "train_on")


@dataclass(frozen=True)
class Defaults:
    """The declarations of an algorithm that differ for one kind of suite.

    Attributes:
        params: defaults of some of its parameters.
        training: the training episodes that it asks for; None: no difference.
        budgets: outer updates for some presets.
    """

    params: Mapping[str, Value] = field(default_factory=dict)
    training: TrainingEpisodes | None = None
    budgets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Algorithm:
    """A catalogue entry: the name of an algorithm, its parameters, and its constructor.

    Attributes:
        name: lower-case words joined by hyphens.
        build: `build(task, **params) -> Learner`, or "module:attr" naming it.
        params: every parameter with its default; values given by users take its type.
        training: the training episodes that it asks for.
        budgets: outer updates for each preset ("smoke", "standard", "paper").
        tasks: the kinds of suite that it applies to.
        regression: the differences on regression suites.
        tags: free words; "floor" marks a baseline that need not learn, "transductive" an
            algorithm whose answer to a query depends on the other queries.
        reference: the paper or page that describes it.
        deterministic: True if it ignores the seed, so that one seed is enough.
        files: files that it reads, weights or data, whose change makes its results stale: names
            of parameters that hold a path, or paths relative to the plugin's file.
    """

    name: str
    build: str | Callable[..., Learner]
    params: Mapping[str, Value] = field(default_factory=dict)
    training: TrainingEpisodes = TrainingEpisodes()
    budgets: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_BUDGETS))
    tasks: frozenset[Kind] = frozenset({"classification"})
    regression: Defaults = Defaults()
    tags: frozenset[str] = frozenset()
    reference: str = ""
    deterministic: bool = False
    files: Sequence[str] = ()

    def __post_init__(self) -> None:
        form, advice = r"[a-z0-9]+(-[a-z0-9]+)*", "write lower-case words joined by hyphens"
        what = f"algorithm {self.name}"
        if problem := name_problem(self.name, form, advice):
            raise UsageError(f"algorithm name '{self.name}': {problem}")
        for name in ("tasks", "tags"):
            words = getattr(self, name)
            if isinstance(words, str):  # a set of its letters
                raise UsageError(f"{what}: {name}={words!r}, write {name}={{{words!r}}}")
            object.__setattr__(self, name, frozenset(words))
        object.__setattr__(self, "params", _plain_params(what, self.params))
        _check_files(what, self.files)
        for parameter in self.params:
            if parameter in RESERVED:
                raise UsageError(f"{what}: parameter '{parameter}' is set by metabench: rename it")
        for defaults in (self.training, self.regression.training):
            if not isinstance(defaults, TrainingEpisodes | None):
                raise UsageError(
                    f"{what}: training={defaults!r}, write metabench.TrainingEpisodes(...)"
                )
        object.__setattr__(self, "budgets", _plain_budgets(what, self.budgets))
        regression = replace(
            self.regression,
            params=_plain_params(f"{what}, for regression", self.regression.params),
            budgets=_plain_budgets(what, self.regression.budgets),
        )
        object.__setattr__(self, "regression", regression)
        for parameter in regression.params:
            if parameter not in self.params:
                raise unknown(f"regression parameter of {self.name}", parameter, self.params)
        if not self.tasks:
            raise UsageError(f"{what}: tasks is empty: name at least one kind of task")
        for kind in self.tasks:
            if kind not in KINDS:
                raise unknown(f"task kind of algorithm {self.name}", kind, KINDS)

    def on(self, kind: Kind) -> Algorithm:
        """Return the entry for one kind of suite, with the differences applied."""
        if kind == "classification":
            return self
        return replace(
            self,
            params={**self.params, **self.regression.params},
            training=self.regression.training or self.training,
            budgets={**self.budgets, **self.regression.budgets},
            regression=Defaults(),
        )


@dataclass(frozen=True)
class Backbone:
    """A catalogue entry for a backbone, the variable that comparisons hold fixed.

    Attributes:
        name: its name in `backbone=` parameters.
        build: `build(input_shape, **params) -> nn.Module` mapping [N, *input_shape] to
            features [N, D]; or "module:attr" naming it.
        params: every parameter with its default.
        reference: the paper or page that describes it.
        files: files that it reads, as for `Algorithm`.
        choices: every value that a parameter takes, for parameters that take only a few; others
            are refused before a cell runs.
    """

    name: str
    build: str | Callable[..., nn.Module]
    params: Mapping[str, Value] = field(default_factory=dict)
    reference: str = ""
    files: Sequence[str] = ()
    choices: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        params = _plain_params(f"backbone {self.name}", self.params)
        object.__setattr__(self, "params", params)
        _check_files(f"backbone {self.name}", self.files)
        for parameter in self.choices:
            if parameter not in self.params:
                raise unknown(f"parameter in choices of {self.name}", parameter, self.params)

    def resolve(self, given: Mapping[str, str]) -> dict[str, Value]:
        """Return every parameter with its value, from those that an address gives as text.

        Raises:
            UsageError: a parameter is not declared, or takes no such value.
        """
        params = address.resolve(self.name, given, self.params)
        for name, values in self.choices.items():
            if params[name] not in values:
                raise unknown(f"{name} of {self.name}", str(params[name]), map(str, values))
        return params


def _plain_budgets(what: str, budgets: Mapping[str, int]) -> dict[str, int]:
    """Return the updates of presets; refuse unknown presets, and numbers that are not whole."""
    found = {preset: address.plain(updates) for preset, updates in budgets.items()}
    for preset, updates in found.items():
        if preset not in DEFAULT_BUDGETS:
            raise unknown(f"budget of {what}", preset, DEFAULT_BUDGETS)
        if type(updates) is not int or updates < 1:
            raise UsageError(f"{what}: budget {preset}={updates!r}, write 1 or more updates")
    return found


def _plain_params(what: str, params: Mapping[str, Value]) -> dict[str, Value]:
    """Return names and defaults; refuse those that no address or result file can hold."""
    if not isinstance(params, Mapping):
        raise UsageError(f"{what}: params={params!r}, write a dict of names and defaults")
    found = {name: address.plain(value) for name, value in params.items()}
    for name, value in found.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise UsageError(f"{what}: parameter name {name!r} is not a Python identifier")
        if type(value) not in (bool, int, float, str):
            raise UsageError(
                f"{what}: parameter '{name}' has the default {value!r} "
                f"({type(value).__name__}), write a bool, int, float or str"
            )
    return found


def _check_files(what: str, files: Sequence[str]) -> None:
    if isinstance(files, str) or not all(isinstance(name, str) for name in files):
        raise UsageError(f"{what}: files={files!r}, write a list of names or paths")


def load(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable itself, or the one that "module:attr" names."""
    if callable(target):
        return target
    module, _, attr = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attr)
    return found
