"""Text from others, such as names and exceptions of plugins, made safe to print."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable

# Control characters could move a terminal's cursor, change its title, or end a file early. Half a
# surrogate pair, as in names of files that are not UTF-8, cannot be written at all. Characters
# without width, and marks that turn the direction of writing, make text look like other text.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """Return text with control characters as escapes; line ends and tabs stay."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def without_hidden(text: str) -> str:
    """Return text without the characters that `printable` escapes, in one Unicode form.

    Texts that look the same become equal: "é" can be written as one character or as two.
    """
    return unicodedata.normalize("NFC", _UNSAFE.sub("", text))


def folded(text: str) -> str:
    """Return text in a form that ignores case, width, hidden characters and outer spaces.

    Each part of a path is taken by itself.
    """
    plain = unicodedata.normalize("NFKC", without_hidden(text)).casefold()
    return "/".join(part.strip() for part in plain.split("/"))


def shortened(text: str, most: int) -> str:
    """Return the beginning and the end of a text that is longer than `most` characters."""
    half = most // 2
    if len(text) <= most:
        return text
    return f"{text[:half]}[... {len(text) - 2 * half:,} characters left out ...]{text[-half:]}"


def one_line(text: str) -> str:
    """Return printable text on one line; other spaces stay, as in paths."""
    return re.sub(r"\s*[\t\n]\s*", " ", printable(text)).strip()


def shell_line(words: Iterable[str]) -> str:
    """Return a command that can be pasted into bash; text that is not printable is escaped."""
    return " ".join(
        shlex.quote(word) if one_line(word) == word else f"$'{_escaped(word)}'" for word in words
    )


def _escaped(word: str) -> str:
    """Return the bytes of a word as between $' and ' in bash."""
    raw = os.fsencode(word)
    return re.sub(rb"[^ -~]|['\\]", lambda found: b"\\x%02x" % ord(found[0]), raw).decode()


def shell_split(line: str) -> list[str]:
    """Split what `shell_line` returned for two words, of which only the second may be escaped.

    Raises:
        ValueError: its quotes do not match.
    """
    found = re.fullmatch(r"(\S+) \$'([^']*)'", line)
    if found is None:
        return shlex.split(line)
    raw = re.sub(
        rb"\\x([0-9a-f]{2})", lambda part: bytes.fromhex(part[1].decode()), os.fsencode(found[2])
    )
    return [found[1], os.fsdecode(raw)]


def printable_json(text: str) -> str:
    """Return JSON with the escapes of JSON for what `printable` escapes."""
    return _UNSAFE.sub(lambda found: _json_escape(found[0]), text)


def _json_escape(char: str) -> str:
    if char < " ":  # between values; within texts, JSON has it escaped already
        return char
    return "\\u" + char.encode("utf-16-be", "surrogatepass").hex("\n", 2).replace("\n", "\\u")
