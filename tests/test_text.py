from __future__ import annotations

import pytest

from metabench.text import one_line, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve «ünïcode» \N{SNOWMAN}\n\tindented", "naïve «ünïcode» \N{SNOWMAN}\n\tindented"),
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("\x00 \x7f \x9b31m", r"\x00 \x7f \x9b31m"),
        ("caf\udce9.png", r"caf\udce9.png"),  # a name that is not UTF-8, as Python reads it
        ("\u202eevil", r"\u202eevil"),
        ("one\r\ntwo", "one\ntwo"),
        ("100 %\rfake", r"100 %\rfake"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()


def test_text_on_one_line_stays_printable() -> None:
    assert one_line(" a\n\tb\x1b\u2028c ") == r"a b\x1b\u2028c"


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 50 + "b" * 50, 10) == "aaaaa[... 90 characters left out ...]bbbbb"
