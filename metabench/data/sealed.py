"""JSON with the digest of its content, so that damage to a file is noticed when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGEST = "sha256"  # the field with the digest of all others


def seal(fields: Mapping[str, Any]) -> bytes:
    """Return fields and their digest as JSON."""
    return json.dumps({_DIGEST: json_digest(fields), **fields}).encode()


def unseal(content: bytes) -> dict[str, Any]:
    """Return the fields of `seal`.

    Raises:
        ValueError: the content is not what `seal` returned.
    """
    fields = json.loads(content)
    if not isinstance(fields, dict) or fields.pop(_DIGEST, None) != json_digest(fields):
        raise ValueError("its content has changed since it was written")
    return fields


def json_digest(value: Any) -> str:
    """Return the SHA-256 hex digest of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
