"""How long a run may take, by how long the same cells took before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from metabench.results.schema import Result
from metabench.supervisor.plan import Planned


@dataclass(frozen=True)
class TimeEstimate:
    """What is known about the time of the cells that are to be run.

    Attributes:
        seconds: of those that have run before, or whose like has.
        unknown: cells of which nothing is known.
    """

    seconds: float
    unknown: int


def estimate(planned: Sequence[Planned], stored: Iterable[Result], jobs: int) -> TimeEstimate:
    """Add up the wall times of earlier results, whatever code and machine made them.

    A cell is thought to take as long as its other seeds did, or, if there are none, as the same
    algorithm at the same budget did on other suites of the same dataset, per example of an episode,
    with as many tasks to an update. Other datasets have images of another size, and other tasks.

    Args:
        planned: the run.
        stored: earlier results.
        jobs: cells side by side.
    """
    exact: dict[object, list[float]] = defaultdict(list)
    alike: dict[object, list[float]] = defaultdict(list)
    for result in stored:
        job, facts, seconds = result.job, result.suite, _seconds(result)
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
    return TimeEstimate(max(sum(times) / jobs, *times), unknown)  # no cell is shared among jobs


def _seconds(result: Result) -> float:
    """A cell's time; that of training that was resumed is longer than the last process took."""
    trained = 0.0 if result.training is None else result.training.seconds
    return max(result.wall_s, trained)
