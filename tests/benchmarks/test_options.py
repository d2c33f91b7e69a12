"""Options of benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from benchmarks import memory, sampling, startup
from benchmarks.options import Options, Refused
from benchmarks.rounds import Row


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (memory.rows, "peak memory"),
        (sampling.rows, "drawing episodes"),
        (startup.rows, "starting"),
    ],
)
def test_what_is_of_the_processor_is_not_measured_in_anothers_name(
    rows: Callable[[Options], Iterable[Row]], what: str
) -> None:
    with pytest.raises(Refused, match=f"{what}: only on the processor; leave --device cuda out"):
        next(iter(rows(Options(device="cuda"))))
