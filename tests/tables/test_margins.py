from __future__ import annotations

import pytest

from metabench import UsageError
from metabench.tables.margins import Margin, Margins


@pytest.mark.parametrize(
    ("text", "baseline", "expected"),
    [("0.5pp", 0.8, 0.005), ("1 pp", 0.8, 0.01), ("5%", 0.8, 0.04), ("0.02", 0.8, 0.02)],
)
def test_a_margin_is_in_units_of_the_metric(text: str, baseline: float, expected: float) -> None:
    assert Margin.parse(text).of(baseline) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "pp", "-1pp", "much", "inf", "nan", "1ppm"])
def test_text_that_is_not_a_margin_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^margin '.*write points of accuracy"):
        Margin.parse(text)


def test_the_most_specific_margin_that_applies_is_used() -> None:
    margins = Margins.parse(None, {"maml": "1pp", "maml[lr=0.1]": "2pp"})
    assert margins.of("maml", {"lr": 0.1}, "accuracy").text == "2pp"
    assert margins.of("maml", {"lr": 0.2}, "accuracy").text == "1pp"
    assert margins.of("protonet", {}, "accuracy").text == "0.5pp"
    assert margins.of("maml", {}, "mse").text == "5%"  # an error has no points
    given = Margins.parse("3pp", {"maml": "1pp"})
    assert given.of("maml", {}, "accuracy").text == "3pp"
    assert given.of("maml", {}, "mse").text == "5%"


def test_an_implausibly_large_plain_number_is_refused() -> None:
    margins = Margins.parse("0.5", {})
    with pytest.raises(UsageError, match=r"margin .0\.5. is 50 points of accuracy: write 0\.5pp"):
        margins.of("maml", {}, "accuracy")
    assert margins.of("maml", {}, "mse").of(3.0) == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "is 500 points of accuracy: write 5pp$"),
        ("0.2", "is 20 points of accuracy: write 0.2pp or 20pp$"),
        ("100pp", "allows any accuracy: write a few points, such as 0.5pp"),
        ("500%", "allows any accuracy"),
    ],
)
def test_a_margin_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"margin '{text}' {said}"):
        Margin.parse(text).check("accuracy")


def test_a_margin_for_an_unknown_algorithm_is_refused() -> None:
    margins = Margins.parse(None, {"mamml[lr=0.1]": "1pp"})
    with pytest.raises(UsageError, match=r"algorithm in \[margins\] 'mamml': did you mean 'maml'"):
        margins.check(["maml", "protonet"])
