"""The statistics err as rarely as docs/statistics.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.simulate import Claim, claims

DOCUMENT = Path(__file__).parents[1] / "docs" / "statistics.md"
SHOWN = re.compile(r"^\| (?P<what>[^|]+) \| (?P<rate>[\d.]+)% \|", re.MULTILINE)


@pytest.fixture(scope="module")
def found() -> list[Claim]:
    return list(claims(repeats=500))  # of the 2,000 of the document


@pytest.mark.slow
def test_every_claim_holds(found: list[Claim]) -> None:
    assert [claim.what for claim in found if not claim.holds] == []


@pytest.mark.slow
def test_the_document_shows_what_is_measured(found: list[Claim]) -> None:
    shown = {match["what"]: float(match["rate"]) for match in SHOWN.finditer(DOCUMENT.read_text())}
    assert list(shown) == [claim.what for claim in found]
    for claim in found:  # to within the error of 500 draws
        assert shown[claim.what] == pytest.approx(100 * claim.rate, abs=3.5), claim.what


def test_a_claim_that_is_missed_by_more_than_chance_does_not_hold() -> None:
    assert Claim("", 0.059, 0.0, 0.05, 2000).holds
    assert not Claim("", 0.061, 0.0, 0.05, 2000).holds
    assert not Claim("", 0.92, 0.935, 0.965, 2000).holds
