from __future__ import annotations

import json

import pytest

from metabench.text import one_line, printable, printable_json, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve «ünïcode» \N{SNOWMAN}\n\tindented", "naïve «ünïcode» \N{SNOWMAN}\n\tindented"),
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("\x00 \x7f \x9b31m", r"\x00 \x7f \x9b31m"),
        ("caf\udce9.png", r"caf\udce9.png"),  # a name that is not UTF-8, as Python reads it
        ("\u202eevil", r"\u202eevil"),
        ("pixel\u200b\u200f\ufeff\u061c\xad\ufe0f", r"pixel\u200b\u200f\ufeff\u061c\xad\ufe0f"),
        ("a\U000e0041\u2066\u3164", r"a\U000e0041\u2066\u3164"),
        ("one\r\ntwo", "one\ntwo"),
        ("100 %\rfake", r"100 %\rfake"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()


def test_text_on_one_line_stays_printable() -> None:
    assert one_line(" a\n\tb\x1b\u2028c ") == r"a b\x1b\u2028c"


def test_spaces_in_a_path_stay_on_one_line() -> None:
    assert one_line("a  b/c.py \n d") == "a  b/c.py d"


def test_json_keeps_its_values_and_shows_no_hidden_character() -> None:
    values = {"a": "\u202e\u200bé\x7f\x85\U000e0041\x1b", "b": [1, 2]}
    text = printable_json(json.dumps(values, ensure_ascii=False, indent=1))
    assert json.loads(text) == values
    assert r"\u202e\u200bé\u007f\u0085\udb40\udc41\u001b" in text
    assert printable(text) == text


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 50 + "b" * 50, 10) == "aaaaa[... 90 characters left out ...]bbbbb"
