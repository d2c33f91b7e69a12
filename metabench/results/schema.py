"""The schema of one result file: the cell, its scores and costs, and where it ran.

Every field is documented here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from metabench import address
from metabench.learner import PRESETS, Kind, Metric, kind_of

SCHEMA = 1

Status = Literal["ok", "not_applicable", "error", "timeout", "oom", "crashed", "interrupted"]

FAILED: frozenset[Status] = frozenset({"error", "timeout", "oom", "crashed"})

# No real number of these kinds is larger, and JSON readers, tables or torch fail with larger ones.
MOST_COUNT = 2**53  # a count, in bytes too, or a seed
MOST_SECONDS = 1e9
MOST_THREADS = 1024

# Checked when a file is read.
Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
Positive = Annotated[int, Meta(ge=1, le=MOST_COUNT)]
Threads = Annotated[int, Meta(ge=0, le=MOST_THREADS)]
Amount = Annotated[float, Meta(ge=0, le=1e100)]  # so that its square is a number too
Seconds = Annotated[float, Meta(ge=0, le=MOST_SECONDS)]
Share = Annotated[float, Meta(ge=0, le=1)]
# As in the catalogue, where names become folders. Letters that look alike are not ASCII.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
BudgetName = Annotated[
    str, Meta(pattern=rf"^({'|'.join(PRESETS)}|(tasks|seconds)=[0-9.e+-]{{1,24}})\Z")
]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}\Z")]  # in hex
Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(Z|[+-][0-9:]{5})\Z")]
ParamValue = bool | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base class of every part of a result."""


class SuiteFacts(Struct, frozen=True, kw_only=True):
    """The suite that a cell ran on."""

    name: Name
    dataset: str
    way: Positive
    shot: Positive
    query: Positive  # queries per class
    metric: Metric
    episodes: Positive  # in the full suite; `Scores` says how many were scored
    episodes_digest: Digest  # SHA-256 of the manifest
    pixels_digest: Digest  # SHA-256 of the preprocessed images
    train_on: Name | None = None  # the suite whose base data was used, if another
    train_on_address: str = ""  # how the command line names that suite, if not by its name
    train_on_digest: Digest | None = None  # digest of that base data
    address: str = ""  # how the command line names the suite, if not by its name
    data: dict[str, str] = {}  # how its images were made, e.g. the filter that resized them

    @property
    def kind(self) -> Kind:
        """The kind of task that the suite poses."""
        return kind_of(self.metric)


class Training(Struct, frozen=True, kw_only=True):
    """Training episodes as resolved for this cell; None for learners without `meta_step`."""

    way: Positive
    shot: Positive
    query: Positive
    tasks_per_step: Positive
    asked_query: Positive | None = None  # if base classes have too few images for that many
    left_out: list[str] = []  # base classes that have too few images even for `query`


class Job(Struct, frozen=True, kw_only=True):
    """The job of a cell; together with the suite, it is the cell's identity."""

    algorithm: Name
    params: dict[str, ParamValue]  # every parameter, resolved
    chosen: dict[str, ParamValue]  # those that differ from the defaults
    seed: Count
    budget: BudgetName  # smoke, standard, paper, tasks=N or seconds=S
    device: Name  # device type: cpu, cuda, mps, ...
    provider: str  # the plugin that provides the algorithm
    code: Digest  # SHA-256 of the definitions that it uses
    files: dict[str, Digest] = {}  # SHA-256 of the files that the catalogue declares
    transductive: bool = False  # declared so, by a tag or by bn=episode
    deterministic: bool | None = None  # declared to ignore the seed; None: not recorded
    training: Training | None = None

    @property
    def address(self) -> str:
        """The address of the algorithm, as users write it."""
        return address.write(self.algorithm, self.chosen)


class Calibration(Struct, frozen=True, kw_only=True):
    """Calibration over all queries; see `metabench.cell.calibration`."""

    nll: Amount  # negative log-likelihood, nats per query
    brier: Annotated[float, Meta(ge=0, le=2)]
    ece: Share  # expected calibration error


class Scores(Struct, frozen=True, kw_only=True):
    """Per-episode scores, in manifest order."""

    queries: Positive  # per episode
    correct: list[Count] | None = None  # right answers per episode (metric accuracy)
    f1: list[Share] | None = None  # macro-F1 per episode (metric accuracy)
    error: list[Amount] | None = None  # mean squared error per episode (metric mse)
    nonfinite: Count = 0  # outputs that were NaN or infinite
    calibration: Calibration | None = None  # metric accuracy, all logits finite
    outputs_digest: Digest  # SHA-256 of all outputs, float32, in manifest order
    tasks_per_batch: Count = 0  # number of tasks adapted to at once
    halved: bool = False  # memory did not suffice for twice as many

    def __post_init__(self) -> None:
        right = self.correct or []
        if right and not 0 <= min(right) <= max(right) <= self.queries:
            raise ValueError(f"right answers of an episode must be 0 to {self.queries}")
        if self.f1 is not None and len(self.f1) != len(right):
            raise ValueError(f"{len(self.f1)} F1 scores of {len(right)} episodes")

    def per_episode(self) -> npt.NDArray[np.float64]:
        """Return [E] scores, one per episode: accuracy as a fraction, or squared error."""
        if self.correct is not None:
            return np.asarray(self.correct, dtype=np.float64) / self.queries
        return np.asarray(self.error, dtype=np.float64)


class Block(Struct, frozen=True, kw_only=True):
    """The scores on a further frozen block of episodes, for the gate."""

    episodes_digest: Digest  # SHA-256 of the block's manifest
    scores: Scores


class Evidence(Struct, frozen=True, kw_only=True):
    """Differences between two answers to the same queries; see `metabench.cell.probe`."""

    probe: str  # "alone", "permuted", "foreign", "batched" or "repeated"
    queries: Count  # number of queries compared
    deviation: Amount  # median over queries, in units of the outputs' spread; the worst case
    flipped: Share  # share of queries whose class changed


class Properties(Struct, frozen=True, kw_only=True):
    """Independence of answers, measured on the suite's own episodes; None: not measurable."""

    inductive: bool | None  # of other queries: alone, permuted, with foreign ones
    isolated: bool | None  # of other tasks that are computed at the same time
    independent: bool | None  # of earlier questions
    episodes: Count
    evidence: list[Evidence] = []
    problem: str = ""  # why it could not be measured


class CurvePoint(Struct, frozen=True, kw_only=True):
    """One point of the learning curve; its values depend on the learner."""

    update: Count  # outer updates so far
    values: dict[str, float | None]  # e.g. {"loss": 1.2, "validation": 0.61}; null: not finite


class MetaTraining(Struct, frozen=True, kw_only=True):
    """The meta-training that a cell got."""

    updates: Count
    tasks: Count  # training episodes, or images converted to them for non-episodic learners
    images: Count
    seconds: Seconds  # wall time of training, without validation by metabench
    curve: list[CurvePoint]
    selected: str  # "best" (on validation) or "last"
    selected_update: Count
    best_validation: float | None = None
    resumed: Count = 0  # number of times it was interrupted and resumed
    peak_memory: Count | None = None  # bytes, in one update (in the whole of `fit`); None: unknown
    tasks_at_once: Count = 0  # tasks of an update computed together; 0: all, or unknown
    problem: str = ""  # why the best state could not be restored, so that the last one was tested


class Timing(Struct, frozen=True, kw_only=True):
    """Wall times of the learner at test; lists are raw samples, in seconds."""

    cold_s: Seconds  # the very first adapt and predict together, not among the samples
    warmup: Count = 0  # tasks discarded before the first sample
    adapt_s: list[Seconds]  # latency mode, one task at a time
    predict_s: list[Seconds]
    throughput_s: list[Seconds]  # throughput mode: blocks of tasks, adapt and predict together
    throughput_episodes: Count  # episodes in each of these samples
    cold: list[str] = []  # what happened for the first time while sampling
    waited: Amount | None = None  # largest share of the time that a thread had no core to run on


class Memory(Struct, frozen=True, kw_only=True):
    """Memory in bytes; None: unknown. The peak of training is in `MetaTraining`."""

    kind: str  # "resident": of the process, Python and torch included; "device": torch's allocator
    bare: Count | None = None  # before the learner was built
    adapt: Count | None = None  # peak while one task is adapted to
    predict: Count | None = None  # peak while it is predicted


class Environment(Struct, frozen=True, kw_only=True):
    """The machine and software that a cell ran on."""

    metabench: str
    python: str
    platform: str
    cpu: str
    cores: Count
    threads: Threads
    memory_mib: Count | None = None  # of the machine
    packages: dict[str, str]
    settings: dict[str, str] = {}  # those of torch that change numbers or speed
    device_name: str | None = None
    allocator: dict[str, str] = {}
    commit: Annotated[str, Meta(pattern=r"^[0-9a-f]{4,64}\Z")] | None = None
    dirty: bool | None = None  # uncommitted changes, except to results
    contended: bool = False  # other cells ran on the machine at the same time
    plugins: list[str] | None = None  # options that name them, "-p my.py"; None: not recorded


class Failure(Struct, frozen=True, kw_only=True):
    """The reason why there is no score."""

    reason: str  # one line
    traceback: str = ""
    log: str = ""  # path of the learner process's output


class Result(Struct, frozen=True, kw_only=True):
    """The result of one cell; fields that are None were not measured."""

    schema: int = SCHEMA
    status: Status
    created: Time  # UTC, ISO 8601
    wall_s: Seconds  # the whole cell, start of the process included
    suite: SuiteFacts
    job: Job
    scores: Scores | None = None
    blocks: list[Block] = []  # blocks 1, 2, ...; `scores` are of block 0
    parameters: Count | None = None  # learnable numbers in the learner
    training: MetaTraining | None = None
    timing: Timing | None = None
    memory: Memory | None = None
    properties: Properties | None = None
    environment: Environment | None = None
    failure: Failure | None = None
    altered: bool = False  # changed since it was written; found by `decode`, not in the file

    def per_episode(self) -> npt.NDArray[np.float64]:
        """Return [E] scores, one per episode: accuracy as a fraction, or squared error."""
        return np.empty(0) if self.scores is None else self.scores.per_episode()

    @property
    def reason(self) -> str:
        """The reason why there is no score, in one line; the status if no more is known."""
        return self.failure.reason if self.failure is not None else self.status


def scored_blocks(result: Result) -> list[Scores]:
    """Return the scores of every block of episodes, the leaderboard's first."""
    first = [] if result.scores is None else [result.scores]
    return [*first, *(block.scores for block in result.blocks)]
