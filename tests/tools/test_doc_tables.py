"""The tables of suites and datasets in the docs are those of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.suites.builtin_suites import SUITES
from tools import doc_tables


@pytest.fixture
def document(tmp_path: Path) -> Path:
    copy = tmp_path / "protocols.md"
    copy.write_text(doc_tables.DOCUMENT.read_text())
    return copy


def test_the_docs_are_up_to_date(document: Path) -> None:
    assert doc_tables.main(["--check"], document) == 0
    for suite in SUITES:
        assert f"\n| `{suite.name}` | " in document.read_text()


def test_a_changed_table_is_reported_in_one_line_and_corrected(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = document.read_text()
    document.write_text(good.replace("| `digits-5w1s` | digits | 5 |", "| `digits-5w1s` | 6 |"))
    changed = document.read_text()
    assert doc_tables.main(["--check"], document) == 1
    assert document.read_text() == changed != good
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "protocols.md: tables are out of date, run `python -m tools.doc_tables`"
    assert doc_tables.main([], document) == 0
    assert document.read_text() == good


def test_missing_markers_are_an_error() -> None:
    with pytest.raises(ValueError, match="lacks <!-- begin: datasets -->"):
        doc_tables.with_tables("nothing here\n")
