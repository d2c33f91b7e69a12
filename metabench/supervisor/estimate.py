"""The expected time of a run, from the times of earlier results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from metabench.results.schema import Result
from metabench.supervisor.plan import Planned


@dataclass(frozen=True)
class TimeEstimate:
    """The expected time of the cells that are to be run."""

    seconds: float  # of the cells for which there are results of the same or of similar cells
    unknown: int  # the number of other cells


def estimate(
    planned: Sequence[Planned], stored: Iterable[Result], jobs: int, threads: int = 0
) -> TimeEstimate:
    """Add up the wall times of earlier results, by any code on any machine.

    A cell is expected to take as long as its other seeds took. If there are none, the time per
    example of an episode is taken from other suites of the same dataset, for the same algorithm and
    budget and the same number of tasks per update. Other datasets are not used: their images and
    tasks differ. Results that were made with more threads than the run has are taken to need the
    same work, which takes longer: cells side by side gain little if they share the cores.

    Args:
        planned: the cells of the run.
        stored: earlier results.
        jobs: cells side by side.
        threads: of each learner; 0: as many as before.
    """
    exact: dict[object, list[float]] = defaultdict(list)
    alike: dict[object, list[float]] = defaultdict(list)
    for result in stored:
        job, facts, seconds = result.job, result.suite, _seconds(result, threads)
        chosen = tuple(sorted(job.chosen.items()))
        if result.status in ("ok", "not_applicable"):
            exact[facts.name, job.algorithm, chosen, job.budget].append(seconds)
        if result.status == "ok":
            per_example = seconds / (facts.way * (facts.shot + facts.query))
            like = facts.dataset, job.algorithm, job.budget, job.chosen.get("tasks_per_step")
            alike[like].append(per_example)
    times, unknown = [0.0], 0
    for cell in (p.cell for p in planned if p.todo):
        name, budget = cell.configured.algorithm.name, cell.budget.name
        given, suite = cell.configured.chosen, cell.suite
        known = exact.get((suite.name, name, tuple(sorted(given.items())), budget))
        near = alike.get((suite.dataset_name, name, budget, given.get("tasks_per_step")))
        if known is not None:
            times.append(median(known))
        elif near is not None:
            times.append(median(near) * suite.way * (suite.shot + suite.query))
        else:
            unknown += 1
    return TimeEstimate(max(sum(times) / jobs, *times), unknown)  # one cell runs in one job


def _seconds(result: Result, threads: int) -> float:
    """Return the time of a cell with so many threads."""
    # Resumed training took longer than its last process.
    trained = 0.0 if result.training is None else result.training.seconds
    before = result.environment.threads if result.environment is not None else 1
    return max(result.wall_s, trained) * max(1.0, before / (threads or before))
