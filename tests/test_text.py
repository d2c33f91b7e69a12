from __future__ import annotations

import json
import os
import subprocess

import pytest

from metabench.text import (
    folded,
    one_line,
    printable,
    printable_json,
    shell_line,
    shell_split,
    shortened,
)


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


@pytest.mark.parametrize(
    ("one", "other"),
    [("Cat", "cat"), ("cat", " cat\u00a0"), ("a", "\uff41"), ("é", "e\u0301"), ("a/cat", "a /Cat")],
)
def test_what_is_spelt_differently_folds_to_the_same_text(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert folded("a b") != folded("ab")


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


AWKWARD = [
    "plain.py",
    "my dir",
    "it's",
    "$HOME `x` !y",
    'q"uote',
    "a[b]*?{c,d}",
    "-x",
    "~",
    "back\\slash",
    " ends ",
    "tab\tand\nline",
    "escape\x1b[2J' \\x41",
    os.fsdecode(b"caf\xe9 'x'"),
    "\u202eright",
    "",
]


@pytest.mark.parametrize("word", AWKWARD)
def test_a_printed_command_gives_bash_the_same_words(word: str) -> None:
    line = shell_line(["-p", word])
    assert one_line(line) == line
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, cwd="/"
    )
    assert [os.fsdecode(found) for found in done.stdout.split(b"\0")[:-1]] == ["-p", word]
    assert shell_split(line) == ["-p", word]
