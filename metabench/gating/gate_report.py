"""The findings of the gate as text: table rows and explanations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from metabench.gating.duel_ratios import PhaseRatio
from metabench.gating.gate_result import Gated
from metabench.gating.speed_verdict import SpeedGated
from metabench.tables import formatting

COLUMNS = (
    *("verdict", "suite", "algorithm", "seeds x episodes"),
    *("baseline", "now", "difference", "interval", "margin", ""),
)


def counts(found: Sequence[Gated | SpeedGated]) -> str:
    """Count the verdicts: "2 pass, 1 fail"."""
    of_each = Counter(gated.verdict for gated in found)
    return ", ".join(f"{n} {verdict}" for verdict, n in sorted(of_each.items()))


def row(gated: Gated) -> tuple[str, ...]:
    """Return one line of the table, in the order of `COLUMNS`."""
    names = (gated.verdict, gated.suite, gated.algorithm)
    if gated.baseline is None or gated.now is None:
        return (*names, *[formatting.UNKNOWN] * (len(COLUMNS) - len(names) - 1), "")
    show = formatting.percent if gated.metric == "accuracy" else _error
    return (
        *names,
        f"{gated.seeds} x {gated.episodes:,}",
        show(gated.baseline),
        show(gated.now),
        _difference(gated),
        interval(gated),
        formatting.UNKNOWN if gated.margin is None else show(gated.margin),
        gated.reason,
    )


SPEED_COLUMNS = (
    "verdict",
    "suite",
    "algorithm",
    "phase",
    "now",
    "then",
    "now / then",
    "95 % CI",
    "",
)


def speed_rows(gated: SpeedGated) -> list[tuple[str, ...]]:
    """Return a line for each phase, in the order of `SPEED_COLUMNS`."""
    names, unknown = (gated.verdict, gated.suite, gated.algorithm), formatting.UNKNOWN
    phases = [phase for phase in gated.phases if phase.ratio is not None]
    if not phases:
        return [(*names, *[unknown] * 5, gated.reason)]
    return [
        (
            *(names if k == 0 else ("", "", "")),
            phase.phase,
            *phase_cells(phase),
            gated.reason if k == 0 else "",
        )
        for k, phase in enumerate(phases)
    ]


def phase_cells(phase: PhaseRatio) -> tuple[str, str, str, str]:
    """Return both times of a phase, their ratio and its interval as text."""
    return (
        formatting.time(phase.a_s),
        formatting.time(phase.b_s),
        formatting.significant(phase.ratio),
        formatting.interval(phase.ci95),
    )


def interval(gated: Gated) -> str:
    """Return the interval as text: "-0.61 .. +0.12"."""
    if gated.ci is None:
        return formatting.UNKNOWN
    return " .. ".join(formatting.difference(bound, gated.metric) for bound in gated.ci)


def explain(gated: Gated, baseline: Path) -> Iterator[str]:
    """Explain a verdict other than pass: the reason, what differs, and which episodes changed."""
    if gated.verdict == "pass":
        return
    yield f"{gated.verdict}: {gated.suite} {gated.algorithm}: {gated.reason}"
    if gated.difference is not None and gated.level is not None:
        unit = " points" if gated.metric == "accuracy" else " of MSE"
        yield (
            f"  difference {_difference(gated)}{unit}, {formatting.percent(gated.level)}% "
            f"interval {interval(gated)}, after look {gated.looks} at {gated.episodes:,} episodes"
        )
        yield f"  differs: {'; '.join(gated.differs) or 'nothing recorded'}"
    if gated.flipped:
        show = formatting.percent if gated.metric == "accuracy" else _error
        shown = [
            f"{flip.episode}{f' of block {flip.block}' if flip.block else ''} "
            f"({show(flip.baseline)} -> {show(flip.now)})"
            for flip in gated.flipped
        ]
        yield f"  episodes that differ most: {', '.join(shown)}"
    yield f"  baseline: {', '.join(str(baseline / file) for file in gated.files)}"


def _difference(gated: Gated) -> str:
    if gated.difference is None:
        return formatting.UNKNOWN
    return formatting.difference(gated.difference, gated.metric)


def _error(value: float) -> str:
    return formatting.error(value, None)
