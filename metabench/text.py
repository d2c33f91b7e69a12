"""Text of others, such as names and exceptions of plugins, made safe to print."""

from __future__ import annotations

import re

# Control characters could move a terminal's cursor, change its title, or end a file early. Half a
# surrogate pair, as in names of files that are not UTF-8, cannot be written at all. Marks that
# turn the direction of writing make text look like other text.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    """Return text with control characters as escapes; line ends and tabs stay."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def shortened(text: str, most: int) -> str:
    """Return the beginning and the end of a text that is longer than `most` characters."""
    half = most // 2
    if len(text) <= most:
        return text
    return f"{text[:half]}[... {len(text) - 2 * half:,} characters left out ...]{text[-half:]}"


def one_line(text: str) -> str:
    """Return printable text on one line."""
    return " ".join(printable(text).split())
