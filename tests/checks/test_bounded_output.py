"""The output of checks: bounded, and without control characters."""

from __future__ import annotations

import os

import pytest

from metabench.checks.bounded_output import MOST, BoundedOutput


def test_control_characters_are_escapes_and_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe, end = os.pipe()
    output = BoundedOutput(pipe)
    with os.fdopen(end, "wb") as file:
        file.write(b"\x1b[31m\xc3\xa9\n" + b"x" * 2 * MOST)
    output.close(20)
    err = capsys.readouterr().err
    assert err.startswith("\\x1b[31m\u00e9\nx")
    assert err.endswith(f"x\n[... {MOST + 8:,} more bytes left out ...]\n")
