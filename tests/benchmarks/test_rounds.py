"""Turns and ratios."""

from __future__ import annotations

import pytest

from benchmarks.rounds import Limit, Row, alternate, ratios, spread


def test_everyone_has_a_turn_each_round_and_another_is_first() -> None:
    order: list[str] = []

    def turn(name: str) -> float:
        order.append(name)
        return float(len(order))

    values = alternate({name: lambda name=name: turn(name) for name in "abc"}, rounds=3)
    assert "".join(order) == "abcbcacab"
    assert values == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_ratios_are_taken_within_rounds() -> None:
    # The machine was four times as slow in the second round: medians apart would hide the 2x.
    assert ratios([2.0, 8.0, 2.2], [1.0, 4.0, 1.0]) == (2.0, 2.0, 2.2)


def test_a_spread_is_median_and_range() -> None:
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_the_best_peer_counts() -> None:
    peers = {"slow": [9.0, 9.0], "quick": [4.0, 6.0]}
    row = Row("work", "s", [2.0, 2.0], peers, {"slow": [9.0, 9.0], "quick": [10.0, 10.0]})
    assert row.ratio == (2.5, 2.0, 3.0)
    assert row.ratio_as_started == (4.5, 4.5, 4.5)
    assert row.met is None


@pytest.mark.parametrize(("target", "met"), [(2.0, True), (2.1, False)])
def test_a_target_is_met_by_the_median(target: float, met: bool) -> None:
    assert Row("work", "s", [1.0] * 3, {"a": [1.0, 2.0, 3.0]}, target=target).met is met


@pytest.mark.parametrize(("times", "met"), [(3.0, True), (1.9, False), (None, None)])
def test_a_limit_is_held(times: float | None, met: bool | None) -> None:
    row = Row("work", "s", [2.0], limit=Limit("the floor", [1.0], times))
    assert row.of_limit == (2.0, 2.0, 2.0)
    assert row.met is met


def test_target_and_limit_are_both_to_be_met() -> None:
    limit = Limit("the floor", [1.0], 1.5)
    assert Row("work", "s", [2.0], {"a": [9.0]}, target=2.0, limit=limit).met is False


def test_a_target_without_peers_is_open() -> None:
    row = Row("work", "s", [2.0], target=2.0)
    assert row.ratio is None
    assert row.met is None
