"""A result as the JSON of its file, written and read.

A file of a newer version is named as such. A file that contradicts itself is not a result, and one
that has changed since it was written says so.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from metabench.results.schema import SCHEMA, Result, scored_blocks
from metabench.text import shell_split

_DIGEST = "sha256"  # the field of a file with the digest of all others; not in 0.1.0
_ROUNDING = 1e-9


class NewerResult(msgspec.ValidationError):
    """A result that a newer version of metabench wrote.

    Args:
        evidence: what this version does not know.
    """

    def __init__(self, evidence: str) -> None:
        super().__init__(f"made by a newer version of metabench ({evidence}); upgrade metabench")


def encode(result: Result) -> bytes:
    """Encode a result as JSON, one line per field, so that files can be read and diffed."""
    fields: dict[str, Any] = msgspec.to_builtins(result)
    del fields["altered"]
    fields[_DIGEST] = _sha256(fields)
    lines = [f'  "{name}": {msgspec.json.encode(value).decode()}' for name, value in fields.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def decode(data: bytes) -> Result:
    """Read a result back; `altered` is set if its content has changed since it was written.

    Raises:
        NewerResult: a newer version of metabench wrote it.
        msgspec.DecodeError: it is not JSON, not this schema, or contradicts itself, also because
            it is damaged.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    text = data.decode(errors="replace")  # a wrong byte in a text costs no more than that text
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except RecursionError:
        raise msgspec.DecodeError("its values are nested too deeply") from None
    schema, digest = fields.get("schema"), fields.pop(_DIGEST, None)
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerResult(f"schema {schema}, known: {SCHEMA}")
    intact = digest == _sha256(fields)
    missing = {field.name for field in msgspec.structs.fields(Result)} - {*fields, "altered"}
    try:
        result = msgspec.convert(fields, Result)
    except msgspec.ValidationError as error:
        # A damaged key is unknown too, but then a known one is missing, and the digest is wrong.
        newer = digest is not None and (intact or not missing)
        if newer and str(error).startswith("Object contains unknown field"):
            raise NewerResult(str(error)) from None
        raise
    if result.schema != SCHEMA:
        raise msgspec.ValidationError(f"schema {result.schema}, expected {SCHEMA}")
    if wrong := _contradiction(result):
        raise msgspec.ValidationError(wrong)
    altered = not (intact or digest is None) or text.encode() != data or _has_wrong_f1(result)
    return msgspec.structs.replace(result, altered=altered)


def _sha256(fields: Mapping[str, Any]) -> str:
    """Return the digest of the content, which does not depend on how it is laid out as text."""
    return hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()


def _contradiction(result: Result) -> str:
    """Describe what in a result contradicts something else in it; "" if nothing does."""
    suite = result.suite
    if (result.status == "ok") != (result.scores is not None):
        return f"status {result.status} {'without' if result.scores is None else 'with'} scores"
    try:
        datetime.fromisoformat(result.created)
    except ValueError:
        return f"created at {result.created}, which is no date and time"
    for scores in scored_blocks(result):
        right = scores.correct is not None, scores.f1 is not None, scores.error is not None
        if right != ((True, True, False) if suite.metric == "accuracy" else (False, False, True)):
            return f"its scores are not those of metric {suite.metric}"
        if not 1 <= (found := len(scores.correct or scores.error or [])) <= suite.episodes:
            return f"scores of {found} episodes, the suite has {suite.episodes}"
        if scores.queries != suite.way * suite.query:
            return f"{scores.queries} queries per episode, the suite has {suite.way * suite.query}"
        if scores.nonfinite > (outputs := found * scores.queries * suite.way):
            return f"{scores.nonfinite} outputs are not finite, of {outputs}"
    options = (result.environment.plugins if result.environment is not None else None) or []
    return next((f"{o!r} does not name a plugin" for o in options if not plugin_words(o)), "")


def plugin_words(option: str) -> list[str]:
    """Split a recorded option for a plugin into words for a printed command; [] if it is none."""
    try:
        words = shell_split(option)
    except ValueError:  # its quotes do not match
        return []
    return words if len(words) == 2 and words[0] in ("-p", "--plugins-dir") else []


def _has_wrong_f1(result: Result) -> bool:
    """Return whether the macro-F1 of an episode does not go with its right answers.

    Classes have equally many queries. So, with an accuracy of a, macro-F1 is at least
    2 a^2 / (1 + a), and at most 2 a / (1 + a).
    """
    for scores in scored_blocks(result):
        if scores.f1 is not None:
            f1, accuracy = np.asarray(scores.f1), scores.per_episode()
            most = 2 * accuracy / (1 + accuracy)
            if ((f1 < accuracy * most - _ROUNDING) | (f1 > most + _ROUNDING)).any():
                return True
    return False
