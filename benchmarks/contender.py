"""One contender in a process of its own: `python -m benchmarks.contender SPEC`.

SPEC is JSON, and the output is JSON. The module that SPEC names prepares the work of a contender,
which is done once to warm up and then several times.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks import peers
from benchmarks.options import Options, Refused
from benchmarks.rounds import OURS, alternate
from metabench.supervisor.environment import ALLOCATOR
from metabench.worker.clock import synchronize

ROOT = Path(__file__).parents[1]
Measure = Literal["seconds", "memory"]
Job = Callable[[], float]  # does the work once, returns the seconds that it took


@dataclass(frozen=True)
class Spec:
    """The task of a contender.

    Attributes:
        work: module with `prepare(who, **setting)`, which returns a `Job`.
        who: the contender.
        setting: the setting of the work, in JSON's types.
        measure: "seconds" of a repetition, or peak "memory" in bytes above that of the imports.
        repeats: timed repetitions.
        threads: threads of torch.
        peers: folder of the peers.
    """

    work: str
    who: str
    setting: Mapping[str, Any] = field(default_factory=dict)
    measure: Measure = "seconds"
    repeats: int = 3
    threads: int = 2
    peers: str = ""


def timed(work: Callable[[], object], device: str = "cpu") -> Job:
    """Make a job of any function; the device is idle when its clock starts and stops."""

    def job() -> float:
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        return time.perf_counter() - start

    return job


def race(
    work: str,
    setting: Mapping[str, Any],
    against: list[str],
    options: Options,
    measure: Measure = "seconds",
) -> tuple[list[float], dict[str, list[float]], dict[str, list[float]]]:
    """Measure metabench and the peers in turns.

    Returns:
        Values for each round: ours, the peers' with our allocator settings, and the peers' as a
        user would start them.
    """

    def turn(who: str, allocator: bool) -> Callable[[], float]:
        folder = str(options.peers.absolute())
        spec = Spec(work, who, setting, measure, options.repeats, options.threads, folder)
        return lambda: start(spec, allocator)

    names = [(OURS, True), *((who, own) for who in against for own in (True, False))]
    values = alternate(
        {name: turn(*name) for name in names},
        options.rounds,
        lambda number, name, value: options.say(
            f"  round {number + 1}: {name[0]}{'' if name[1] else ' as started'} {value:.4g}"
        ),
    )
    tuned, untuned = ({who: values[who, own] for who in against} for own in (True, False))
    return values[OURS, True], tuned, untuned


def start(spec: Spec, allocator: bool = True) -> float:
    """Measure a contender in a fresh process.

    Args:
        spec: its task.
        allocator: use the allocator settings of learner processes.

    Raises:
        Refused: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.contender", json.dumps(asdict(spec))]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=surroundings(allocator)
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Refused(f"{spec.work}: {spec.who} failed: {said[-1]}")
    return float(json.loads(done.stdout)["value"])


def surroundings(allocator: bool) -> dict[str, str]:
    """Return this process's environment, with the allocator settings of learners or with none."""
    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    return {**plain, **ALLOCATOR} if allocator else plain


def measured(spec: Spec) -> dict[str, Any]:
    """Measure a contender in this process."""
    import torch

    from metabench.worker import memory

    torch.set_num_threads(spec.threads)
    peers.admit(Path(spec.peers))
    work = importlib.import_module(spec.work)
    memory.reset_peak("cpu")
    bare = memory.peak("cpu")
    job = work.prepare(spec.who, **spec.setting)
    job()
    seconds = []
    for _ in range(spec.repeats):
        gc.collect()
        seconds.append(job())
    if spec.measure == "seconds":
        return {"value": median(seconds), "seconds": seconds}
    peak = memory.peak("cpu")
    if bare is None or peak is None:
        raise Refused("this system does not report a process's peak memory")
    return {"value": peak - bare, "bare": bare, "peak": peak}


def main() -> None:
    """Print the measurement to stdout; the contender's output goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        found = measured(Spec(**json.loads(sys.argv[1])))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
