"""Numbers are shown with their significant digits."""

from __future__ import annotations

import pytest

from metabench.tables import formatting


def test_accuracies_are_percentages_with_half_the_interval():
    assert formatting.accuracy(0.8632, (0.8591, 0.8673)) == "86.32 ± 0.41"
    assert formatting.accuracy(1.0, (1.0, 1.0)) == "100.00 ± 0.00"
    assert formatting.accuracy(0.5, None) == "50.00"
    assert formatting.accuracy(None, None) == "-"


@pytest.mark.parametrize(
    ("wrong", "half", "expected"),
    [
        (3, 0.0000452, "99.996 ± 0.005"),  # of 75,000
        (74_997, 0.0000452, "0.004 ± 0.005"),
        (30, 0.0000452, "99.960 ± 0.005"),
        (0, 0.0000452, "100.000 ± 0.005"),
        (3, 0.0, "99.996 ± 0.000"),
        (3, 1e-17, "99.996 ± 0.000"),  # a rounding error
        (750, 0.0000502, "99.00 ± 0.01"),
    ],
)
def test_an_accuracy_is_not_rounded_to_perfection_nor_an_interval_to_nothing(wrong, half, expected):
    score = 1 - wrong / 75_000
    assert formatting.accuracy(score, (score - half, score + half)) == expected


def test_a_number_that_is_not_zero_is_not_shown_as_zero():
    assert formatting.percent(0.99996) == "99.996"
    assert formatting.percent(1e-7) == "0.00001"
    assert formatting.score(0.99996, "accuracy") == "99.996%"
    assert formatting.difference(-0.00004, "accuracy") == "-0.004"
    assert formatting.difference(0.0, "accuracy") == "+0.00"
    assert formatting.difference(0.0123456, "accuracy", 3) == "+1.235"
    assert formatting.difference(0.0123456, "mse", 3) == "+0.0123"
    assert [formatting.p_value(p) for p in (0.0312, 0.0)] == ["p = 0.031", "p < 1e-300"]
    shown = [formatting.probability(p) for p in (0.0, 0.0004, 0.973, 0.9996, 1.0)]
    assert shown == ["<0.1%", "<0.1%", "97.3%", ">99.9%", ">99.9%"]


@pytest.mark.parametrize(
    ("score", "half", "expected"),
    [
        (0.04123, 0.00352, "0.0412 ± 0.0035"),
        (1.2064, 0.7127, "1.21 ± 0.71"),
        (12345.6, 234.5, "12346 ± 234"),
        (0.1234567, 0.0, "0.1235 ± 0.0000"),
        (0.0, 0.0, "0.000 ± 0.000"),
        (1.34e30, 1e29, "1.3e+30"),  # it diverged
    ],
)
def test_errors_are_shown_to_the_second_digit_of_their_interval(score, half, expected):
    assert formatting.error(score, (score - half, score + half)) == expected


def test_errors_without_an_interval_have_four_digits():
    assert formatting.error(0.0123456, None) == "0.01235"
    assert formatting.error(None, None) == "-"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.01234, "0.0123"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (0.0, "0.00"),
        (None, "-"),
    ],
)
def test_times_have_three_digits_and_no_powers_of_ten(value, expected):
    assert formatting.significant(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(3.214, "3.21 s"), (119.0, "119 s"), (120.0, "2.00 min"), (750.0, "12.5 min"), (None, "-")],
)
def test_durations_are_seconds_up_to_two_minutes(seconds, expected):
    assert formatting.duration(seconds) == expected


def test_counts_have_thousands_separated():
    assert formatting.count(111936) == "111,936"
    assert formatting.count(0) == "0"
    assert formatting.count(None) == "-"


def test_a_score_names_its_metric():
    assert formatting.score(0.8632, "accuracy") == "86.32%"
    assert formatting.score(0.0123456, "mse") == "MSE 0.01235"
