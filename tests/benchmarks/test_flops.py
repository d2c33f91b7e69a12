"""The arithmetic of MAML, against counts that were made by hand."""

from __future__ import annotations

import pytest

from benchmarks.flops import adaptation, forward, meta_gradient
from benchmarks.setting import Setting


def test_a_forward_pass_takes_so_much_in_each_block() -> None:
    assert [round(block / 1e6, 2) for block in forward(Setting())] == [0.90, 14.45, 3.61, 0.66]


@pytest.mark.parametrize(
    ("shot", "steps", "second", "first"),
    [(1, 1, 5.21, 4.64), (1, 5, 8.65, 5.80), (5, 1, 8.65, 5.80), (5, 5, 25.87, 11.60)],
)
def test_a_meta_gradient_takes_so_much_a_task(
    shot: int, steps: int, second: float, first: float
) -> None:
    cases = {order: Setting(shot=shot, steps=steps, first_order=order) for order in (False, True)}
    assert round(meta_gradient(cases[False]) / 1e9, 2) == second
    assert round(meta_gradient(cases[True]) / 1e9, 2) == first


def test_adaptation_takes_less_than_a_meta_gradient_to_first_order() -> None:
    case = Setting(shot=5, steps=5, first_order=True)
    queries = case.way * case.query
    saved = queries * (2 * sum(forward(case)) - forward(case)[0])  # no gradient on queries
    assert meta_gradient(case) - adaptation(case) == saved
