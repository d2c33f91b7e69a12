"""Sealed JSON gives back its fields, or an error for any change that matters."""

from __future__ import annotations

import contextlib

import pytest

from metabench.data.sealed import seal, unseal

FIELDS = {"labels": [0, 1, 10], "names": {"a": "字", "b": "\udcff"}, "key": "k"}


def test_fields_come_back() -> None:
    assert unseal(seal(FIELDS)) == FIELDS


def test_no_flipped_bit_gives_other_fields() -> None:
    content = seal(FIELDS)
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            with contextlib.suppress(ValueError):
                assert unseal(bytes(flipped)) == FIELDS  # such as a space that is now a tab


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"labels": []}', b"\xff"])
def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of the JSON parser, or of the seal
        unseal(content)
