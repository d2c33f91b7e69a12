"""Numbers as text for tables; an unknown number is a dash.

No number is rounded to a claim that it does not support: 99.996 % is not shown as 100.00.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.learner import Metric

UNKNOWN = "-"
_DIVERGED = 1e6
_EXACT = 9  # decimals of a percentage; the others are rounding errors
_SMALLEST_P = 1e-300  # smaller ones are computed as zero


def percent(fraction: float | None) -> str:
    """Return a fraction in percent: 0.8632 -> 86.32, 0.99996 -> 99.996."""
    if fraction is None:
        return UNKNOWN
    return f"{100 * fraction:.{_decimals(100 * fraction)}f}"


def score(value: float, metric: Metric, ci95: tuple[float, float] | None = None) -> str:
    """Return a score with its unit: 86.32%, 86.32% ± 0.41%, MSE 0.04121."""
    if metric == "mse":
        return f"MSE {error(value, ci95)}"
    return f"{accuracy(value, ci95).replace(' ±', '% ±')}%"


def accuracy(score: float | None, ci95: tuple[float, float] | None) -> str:
    """Return a fraction and its symmetric interval in percent: 86.32 ± 0.41, 99.996 ± 0.005."""
    if score is None or ci95 is None:
        return percent(score)
    half = 100 * ((ci95[1] - ci95[0]) / 2)
    decimals = max(_decimals(100 * score), _decimals(half))
    return f"{100 * score:.{decimals}f} ± {half:.{decimals}f}"


def error(score: float | None, ci95: tuple[float, float] | None) -> str:
    """Return a positive value with its interval to two digits: 0.0412 ± 0.0035.

    A value that has diverged is shown in scientific notation: 1.3e+30.
    """
    if score is None:
        return UNKNOWN
    if score >= _DIVERGED:
        return f"{score:.1e}"
    if ci95 is None:
        return significant(score, 4)
    half = (ci95[1] - ci95[0]) / 2
    decimals = max(0, 1 - _exponent(half)) if half > 0 else max(0, 3 - _exponent(score))
    return f"{score:.{decimals}f} ± {half:.{decimals}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """Return a value with so many significant digits, never 1e3: 0.123, 12.3, 1234."""
    if value is None:
        return UNKNOWN
    return f"{value:.{max(0, digits - 1 - _exponent(value))}f}"


def difference(value: float, metric: Metric, digits: int = 2) -> str:
    """Return a signed difference: +0.13 points of accuracy, or +0.0021 of squared error."""
    value += 0.0  # no negative zero
    if metric == "mse":
        return f"{value:+.{digits}g}"
    return f"{100 * value:+.{max(digits, _decimals(100 * value))}f}"


def p_value(value: float) -> str:
    """Return a p-value, which is never zero: p = 0.031."""
    return f"p = {value:.2g}" if value > _SMALLEST_P else f"p < {_SMALLEST_P:g}"


def probability(value: float) -> str:
    """Return an estimated probability, which is never certain: 97.3%, <0.1%, >99.9%."""
    if value < 0.0005:
        return "<0.1%"
    return f"{value:.1%}" if value < 0.9995 else ">99.9%"


def duration(seconds: float | None) -> str:
    """Return a time in seconds up to two minutes, then in minutes: 3.21 s, 95.0 s, 12.5 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.1:
        return time(seconds)
    if seconds < 120:
        return f"{significant(seconds)} s"
    return f"{significant(seconds / 60)} min"


def time(seconds: float | None) -> str:
    """Return a time in a suitable unit: 812 us, 4.13 ms, 2.60 s."""
    if seconds is None:
        return UNKNOWN
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{significant(seconds / unit)} {name}"
    return f"{significant(seconds * 1e6)} us"


def interval(ci95: tuple[float, float] | None) -> str:
    """Return the two ends of an interval: 0.82 .. 0.97."""
    if ci95 is None:
        return UNKNOWN
    return f"{significant(ci95[0])} .. {significant(ci95[1])}"


def count(number: int | None) -> str:
    """Return a number with separators: 111936 -> 111,936."""
    return UNKNOWN if number is None else f"{number:,}"


def _exponent(value: float) -> int:
    """Return the power of ten of the first digit; 0 for zero."""
    return math.floor(math.log10(abs(value))) if value else 0


def _decimals(percentage: float) -> int:
    """Return the fewest decimals, at least 2, that do not round a percentage to 0 or 100."""
    extremes = (0.0, 100.0)
    decimals = 2
    if round(abs(percentage), _EXACT) not in extremes:
        while round(abs(percentage), decimals) in extremes:
            decimals += 1
    return decimals
