from __future__ import annotations

import pytest

from metabench.cli.output import echo


class Full:
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None: ...


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo("a\x1b[31m", nl=False)
    echo("b\x07", err=True)
    assert capsys.readouterr() == ("a\\x1b[31m", "b\\x07\n")


def test_messages_that_cannot_be_written_are_lost_and_results_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", Full())
    echo("a message", err=True)
    with pytest.raises(OSError, match="No space"):
        echo("a result")
