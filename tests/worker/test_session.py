"""Failures of a learner as messages."""

from __future__ import annotations

import pytest

from metabench.errors import UsageError
from metabench.worker.session import failure, setting_up


def test_a_huge_exception_is_shortened_in_the_result_and_whole_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError as error:
        found = failure(error)
    assert len(found.reason) < 1_000
    assert len(found.traceback) < 21_000
    assert found.traceback.startswith("Traceback")
    assert "characters left out ...]xxx" in found.traceback
    assert "x" * 1_000_000 in capsys.readouterr().err


def test_a_failure_before_the_learner_is_built_is_not_final() -> None:
    with pytest.raises(Exception) as raised, setting_up():  # noqa: PT011
        raise UsageError("memory limit of 1 MiB: ask for more")
    found = failure(raised.value)
    assert (found.status, found.traceback) == ("interrupted", "")
    assert found.reason == "UsageError: memory limit of 1 MiB: ask for more"
    assert failure(UsageError("of the learner")).status == "error"
