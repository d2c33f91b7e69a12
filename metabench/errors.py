"""The errors that a user can cause, each worth one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetabenchError(Exception):
    """An error that the user can fix: the message says what is wrong, where, and what to do."""


class UsageError(MetabenchError):
    """A wrong name, option, parameter or configuration (exit code 2)."""


class NotApplicable(UsageError):
    """An algorithm that by its nature cannot run on a suite; plugins may raise it too."""


class DataError(MetabenchError):
    """Missing, damaged or too few examples (exit code 2)."""


class NothingToRun(MetabenchError):
    """A run in which nothing matched, or nothing ran (exit code 4)."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """Return the error for a name that nobody provides, with the nearest match.

    Args:
        kind: the kind of thing looked up, in words ("algorithm", "suite").
        name: the name that the user asked for.
        known: the names that exist.
        hint: one more sentence, appended as it is.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        advice = f"did you mean '{near[0]}'?"
    elif names:
        advice = "known: " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    else:
        advice = "none is known"
    if hint and not advice.endswith("?"):
        advice += "."
    return UsageError(f"unknown {kind} '{name}': {advice}{' ' + hint if hint else ''}")


def reason(error: BaseException) -> str:
    """Return why something failed, in one line: the text of the system if it is from there."""
    text = str(getattr(error, "strerror", None) or error)
    return text.partition("\n")[0] or type(error).__name__
