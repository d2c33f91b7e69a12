"""Flags: short caveats for a row, each explained by a note below the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from metabench.plugins.staleness import CodeState
from metabench.results.schema import Result
from metabench.statistics.spread import relative_spread
from metabench.tables.aggregate import contended, machine, says_transductive

FEW_SEEDS = "seeds<5"
ONE_SEED = "one seed"
STALE = "stale"
UNKNOWN = "code unknown"
ALTERED = "altered"
CHANCE = "CI contains chance"
BELOW = "below chance"
NONFINITE = "non-finite outputs"
DIRTY = "dirty"
MAYBE_DIRTY = "dirty?"
CONTENDED = "contended"
OTHER_MACHINE = "other machine"
NOISY = "noisy"
COLD = "cold"
HALVED = "halved batch"
LAST = "last state"
CODE = "code differs"
PACKAGES = "packages differ"
PIXELS = "pixels differ"
BASE = "training data differ"
TRANSDUCTIVE = "bn=episode"

UNDECLARED = "undeclared transductive"
MIXES = "tasks mix"
CARRIES = "carries state"
UNPROBED = "not probed"

_NOISY = 0.1  # interquartile range over median
_OF_TIMES = {CONTENDED, OTHER_MACHINE, NOISY, COLD}

NOTES: dict[str, str] = {
    FEW_SEEDS: "fewer than five seeds: the interval has few degrees of freedom",
    ONE_SEED: ("the interval describes one trained learner; another seed may give another score"),
    STALE: "made by code that differs from the current code; `metabench run` computes it again",
    UNKNOWN: (
        "its plugin or suite is not loaded here, or a file that it reads is not found, so it is "
        "unknown whether its code has changed; add the options after -p in the command below the "
        "table"
    ),
    ALTERED: (
        "a result file has changed since metabench wrote it; `metabench run` computes it again"
    ),
    CHANCE: "the confidence interval contains the accuracy of guessing",
    BELOW: "the whole confidence interval is below the accuracy of guessing: look for a wrong sign",
    NONFINITE: "some outputs were NaN or infinite; these queries count as wrong",
    DIRTY: "made by code with uncommitted changes",
    MAYBE_DIRTY: "git could not say whether files had uncommitted changes",
    CONTENDED: (
        "some cells shared the machine with other cells or other work; their times are left out"
    ),
    OTHER_MACHINE: (
        "some cells ran on a machine other than the one named first; their times are left out"
    ),
    NOISY: (
        "the times of at least one phase vary widely: interquartile range over median above 10 %"
    ),
    COLD: (
        "while times were sampled, something was imported or compiled, or more device memory was "
        "requested; see `metabench why`"
    ),
    HALVED: (
        "there was not enough memory for the usual batch of test episodes, so half of it was used"
    ),
    LAST: (
        "training changed the learner so that its best state could not be restored, and the last "
        "one was tested; `training.problem` in the result says why"
    ),
    CODE: "the seeds were run with different versions of the algorithm's code",
    PACKAGES: "the seeds were run with different versions of a package that they import",
    PIXELS: "the preprocessed images differ from those of most other rows",
    BASE: "the seeds were trained on different base data with the same name",
    TRANSDUCTIVE: (
        "normalises with the statistics of each batch, queries included, and is therefore "
        "transductive: answers to a query depend on the other queries"
    ),
    UNDECLARED: (
        "answers to a query depend on the other queries, which the plugin does not declare; see "
        "`metabench why`"
    ),
    MIXES: "answers to a task depend on other tasks in the same batch",
    CARRIES: "answers to a task depend on tasks answered before: state is carried over",
    UNPROBED: (
        "it was not measured whether answers depend on other queries or tasks; see `metabench why`"
    ),
}

# The notes of flags that contain numbers or names, by a pattern that matches the whole flag.
_PATTERNS: dict[str, str] = {
    r"[\d,]+ of [\d,]+ episodes": (
        "fewer episodes were scored than in other rows, so the row has no rank"
    ),
    r"\d+ of \d+ seeds (failed|interrupted)": "the row covers the other seeds only",
    r"train (\d+-way )?\d+-shot": (
        "the shape of the training episodes differs from that of the test episodes"
    ),
    r"train \d+ of \d+ queries": (
        "base classes have too few images for the queries that training episodes should have, so "
        "they have fewer"
    ),
    r"train without \d+ class(es)?": (
        "base classes with too few images for a training episode are left out of them; "
        "`metabench why` lists these classes"
    ),
    r"trained on .*": "meta-trained on the base data of another suite",
}


def note(flag: str) -> str:
    """Return the note of a flag."""
    return NOTES.get(flag) or next(
        text for pattern, text in _PATTERNS.items() if re.fullmatch(pattern, flag, re.DOTALL)
    )


def of_cells(results: Sequence[Result], timed_on: str | None) -> list[str]:
    """Return the flags of a row that follow from its own cells, one for each seed."""
    ok = [r for r in results if r.status == "ok"]
    if not ok:
        return []
    alone = [r for r in ok if not contended(r) and machine(r) == timed_on]
    flags = [
        FEW_SEEDS if 2 <= len(ok) < 5 else "",
        ONE_SEED if len(ok) == 1 and not ignores_seed(ok[0]) else "",
        *_missing(results),
        ALTERED if any(r.altered for r in results) else "",
        NONFINITE if any(r.scores is not None and r.scores.nonfinite for r in ok) else "",
        NOISY if any(map(_noisy, alone)) else "",
        COLD if any(r.timing is not None and r.timing.cold for r in alone) else "",
        HALVED if any(r.scores is not None and r.scores.halved for r in ok) else "",
        LAST if any(r.training is not None and r.training.problem for r in ok) else "",
        CODE if len({r.job.code for r in ok}) > 1 else "",
        PACKAGES if _packages_differ(ok) else "",
        PIXELS if len({r.suite.pixels_digest for r in ok}) > 1 else "",
        BASE if len({r.suite.train_on_digest for r in ok}) > 1 else "",
        DIRTY if any(r.environment is not None and r.environment.dirty for r in ok) else "",
        MAYBE_DIRTY if any(map(_may_be_dirty, ok)) else "",
        CONTENDED if any(map(contended, ok)) else "",
        OTHER_MACHINE if any(machine(r) != timed_on for r in ok if not contended(r)) else "",
        TRANSDUCTIVE if TRANSDUCTIVE in str(ok[0].job.params.get("backbone")) else "",
        *_measured(ok),
        *_training_episodes(ok[0]),
        f"trained on {ok[0].suite.train_on}" if ok[0].suite.train_on else "",
    ]
    return [flag for flag in flags if flag]


def of_code(states: Iterable[CodeState]) -> list[str]:
    """Return the flags of a row for the states of its cells' code."""
    found = {*states}
    return [flag for state, flag in (("stale", STALE), ("unknown", UNKNOWN)) if state in found]


def of_scores(results: Sequence[Result]) -> list[str]:
    """Return the flags that concern scores, not times."""
    return [flag for flag in of_cells(results, None) if flag not in _OF_TIMES]


def ignores_seed(result: Result) -> bool:
    """Return whether the seed has no effect, as the algorithm declares.

    Older results do not record it; for these, return whether there were no training episodes.
    """
    job = result.job
    return job.training is None if job.deterministic is None else job.deterministic


def _measured(ok: Sequence[Result]) -> list[str]:
    """Return the flags that follow from the probes of any seed."""
    found = [r.properties for r in ok if r.properties is not None]
    said = says_transductive(ok[0])
    return [
        UNDECLARED if any(p.inductive is False for p in found) and not said else "",
        MIXES if any(p.isolated is False for p in found) else "",
        CARRIES if any(p.independent is False for p in found) else "",
        UNPROBED if len(found) < len(ok) or any(p.problem for p in found) else "",
    ]


def contains_chance(ci95: tuple[float, float], way: int) -> bool:
    """Return whether the interval of an accuracy contains that of guessing, 1 / way."""
    lo, hi = ci95
    rounding = 1e-9  # an interval without width may lie exactly at chance
    return lo - rounding <= 1 / way <= hi + rounding


def _may_be_dirty(result: Result) -> bool:
    place = result.environment
    return place is not None and place.commit is not None and place.dirty is None


def _noisy(result: Result) -> bool:
    timing = result.timing
    if timing is None:
        return False
    phases = (timing.adapt_s, timing.predict_s, timing.throughput_s)
    return any(relative_spread(phase) > _NOISY for phase in phases if phase)


def _packages_differ(ok: Sequence[Result]) -> bool:
    """Return whether the version of a package that cells imported differs between them."""
    pairs = {
        pair for r in ok if r.environment is not None for pair in r.environment.packages.items()
    }
    return len(pairs) > len({name for name, _ in pairs})


def _missing(results: Sequence[Result]) -> list[str]:
    interrupted = sum(r.status == "interrupted" for r in results)
    failed = sum(r.status != "ok" for r in results) - interrupted
    counts = {"failed": failed, "interrupted": interrupted}
    return [f"{n} of {len(results)} seeds {what}" for what, n in counts.items() if n]


def _training_episodes(result: Result) -> list[str]:
    train, suite = result.job.training, result.suite
    if train is None:
        return []
    found = []
    if (train.way, train.shot) != (suite.way, suite.shot):
        way = f"{train.way}-way " if suite.metric == "accuracy" else ""
        found.append(f"train {way}{train.shot}-shot")
    if train.asked_query is not None:
        found.append(f"train {train.query} of {train.asked_query} queries")
    if train.left_out:
        left = len(train.left_out)
        found.append(f"train without {left} class{'es' if left > 1 else ''}")
    return found
