"""A factory of small results for tests; every field is filled as in a finished cell.

Scores are drawn from the algorithm's name and the seed, with Python's own generator, whose stream
is the same in every version. `correct`, `f1` or `error` set them by hand.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from metabench.address import Value
from metabench.results.schema import (
    CurvePoint,
    Environment,
    Failure,
    Job,
    Memory,
    MetaTraining,
    Metric,
    Properties,
    Result,
    Scores,
    Status,
    SuiteFacts,
    Timing,
    Training,
)
from metabench.results.store import Store, path_of
from metabench.suites.builtin_suites import SUITES
from metabench.supervisor.environment import ALLOCATOR

HONEST = Properties(inductive=True, isolated=True, independent=True, episodes=2)


def digest(text: str) -> str:
    """A SHA-256 in hexadecimal, as digests are stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_suite(
    name: str = "digits-5w1s",
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 3,
    episodes: int = 20,
    metric: Metric = "accuracy",
    manifest: str = "manifest",
    pixels: str = "pixels",
    train_on: str | None = None,
) -> SuiteFacts:
    """The facts of a suite; `manifest` and `pixels` are any text, hashed to digests."""
    return SuiteFacts(
        name=name,
        dataset=name.partition("-")[0],
        way=way,
        shot=shot,
        query=query,
        metric=metric,
        episodes=episodes,
        episodes_digest=digest(manifest),
        pixels_digest=digest(pixels),
        train_on=train_on,
    )


def builtin_suite(name: str = "digits-5w1s") -> SuiteFacts:
    """The facts of a suite as the catalogue defines it, with other episodes and pixels."""
    (own,) = (suite for suite in SUITES if suite.name == name)
    facts = make_suite(name, way=own.way, shot=own.shot, query=own.query, episodes=own.episodes)
    return msgspec.structs.replace(facts, dataset=own.dataset_name, metric=own.metric)


def make_environment(
    *,
    cpu: str = "Example CPU",
    threads: int = 2,
    device_name: str | None = None,
    commit: str | None = "0123456789abcdef",
    dirty: bool | None = False,
    contended: bool = False,
    allocator: Mapping[str, str] = ALLOCATOR,
    plugins: list[str] | None = None,
) -> Environment:
    """The machine that a cell ran on."""
    return Environment(
        metabench="0.1.0",
        python="3.11.9",
        platform="Linux",
        cpu=cpu,
        cores=2,
        threads=threads,
        packages={"torch": "2.13.0", "numpy": "2.4.6"},
        device_name=device_name,
        allocator=dict(allocator),
        commit=commit,
        dirty=dirty,
        contended=contended,
        plugins=plugins,
    )


def make_result(
    algorithm: str = "protonet",
    *,
    seed: int = 0,
    accuracy: float = 0.8,
    suite: SuiteFacts | None = None,
    scored: int | None = None,
    correct: Sequence[int] | None = None,
    f1: Sequence[float] | None = None,
    error: Sequence[float] | None = None,
    nonfinite: int = 0,
    chosen: Mapping[str, Value] | None = None,
    budget: str = "smoke",
    device: str = "cpu",
    status: Status = "ok",
    reason: str = "ZeroDivisionError: division by zero",
    code: str = "code",
    training: Training | None = None,
    fit_s: float | None = 12.5,
    adapt_s: Sequence[float] = (0.0031, 0.0029, 0.003),
    predict_s: Sequence[float] = (0.00102, 0.00098, 0.001),
    throughput_s: Sequence[float] = (0.0404, 0.04, 0.0396),
    cold: Sequence[str] = (),
    peaks: tuple[int | None, int | None, int | None] | None = None,
    parameters: int | None = 111_936,
    properties: Properties | None = HONEST,
    environment: Environment | None = None,
    created: str = "2026-01-02T03:04:05Z",
) -> Result:
    """One cell.

    Args:
        accuracy: chance of a right answer, where `correct` is not given.
        scored: episodes scored; None: all of the suite.
        error: squared error per episode, for a suite of metric "mse"; drawn if not given.
        status: anything but "ok" has a failure with `reason` instead of scores.
        fit_s: seconds of meta-training; None: a learner without any.
        cold: what happened for the first time while times were sampled.
        peaks: bytes at the peak of meta-training, adapt and predict; None: not measured.
    """
    suite = suite or make_suite()
    ok = status == "ok"
    count = suite.episodes if scored is None else scored
    rng = random.Random(f"{algorithm} {seed}")
    return Result(
        status=status,
        created=created,
        wall_s=20.0,
        suite=suite,
        job=Job(
            algorithm=algorithm,
            params={"bn": "running", **(chosen or {})},
            chosen=dict(chosen or {}),
            seed=seed,
            budget=budget,
            device=device,
            provider="builtin",
            code=digest(code),
            training=training,
        ),
        scores=_scores(suite, count, rng, accuracy, correct, f1, error, nonfinite) if ok else None,
        parameters=parameters if ok else None,
        training=_meta_training(fit_s, peaks[0] if peaks else None)
        if ok and fit_s is not None
        else None,
        timing=Timing(
            adapt_s=list(adapt_s),
            predict_s=list(predict_s),
            cold_s=0.05,
            throughput_s=list(throughput_s),
            throughput_episodes=8,
            cold=list(cold),
        )
        if ok
        else None,
        memory=None if peaks is None else Memory(kind="resident", adapt=peaks[1], predict=peaks[2]),
        properties=properties if ok else None,
        environment=environment or make_environment(),
        failure=None if ok else Failure(reason=reason, traceback="Traceback ..."),
    )


def store_results(root: Path, results: Sequence[Result]) -> list[Path]:
    """Write results where `metabench run` would; the paths are relative to `root`."""
    paths = []
    for result in results:
        path = path_of(result)
        Store(root).write(path, result)
        paths.append(path)
    return paths


def _scores(
    suite: SuiteFacts,
    count: int,
    rng: random.Random,
    accuracy: float,
    correct: Sequence[int] | None,
    f1: Sequence[float] | None,
    error: Sequence[float] | None,
    nonfinite: int,
) -> Scores:
    queries = suite.way * suite.query
    if suite.metric == "mse":
        error = [rng.expovariate(1.0) for _ in range(count)] if error is None else error
        return Scores(
            queries=queries,
            error=list(error),
            nonfinite=nonfinite,
            outputs_digest=digest(repr(error)),
        )
    if correct is None:
        correct = [sum(rng.random() < accuracy for _ in range(queries)) for _ in range(count)]
    return Scores(
        queries=queries,
        correct=list(correct),
        f1=[right / queries for right in correct] if f1 is None else list(f1),
        nonfinite=nonfinite,
        outputs_digest=digest(repr(correct)),
    )


def _meta_training(seconds: float, peak: int | None) -> MetaTraining:
    return MetaTraining(
        updates=50,
        tasks=200,
        images=4000,
        seconds=seconds,
        curve=[
            CurvePoint(update=25, values={"loss": 1.2}),
            CurvePoint(update=50, values={"loss": 1.0}),
        ],
        selected="last",
        selected_update=50,
        peak_memory=peak,
    )
