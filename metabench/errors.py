"""The errors a user can cause, each worth one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetabenchError(Exception):
    """Something the user can mend: the message says what, where and what to do."""


class UsageError(MetabenchError):
    """A wrong name, option, parameter or configuration (exit code 2)."""


class NotApplicable(UsageError):
    """The algorithm cannot run on this suite by its nature; for plugins to raise too."""


class DataError(MetabenchError):
    """Examples that are missing, damaged or too few (exit code 2)."""


class NothingToRun(MetabenchError):
    """Nothing matched, or nothing ran (exit code 4)."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """The error for a name that nobody provides, with the nearest match.

    Args:
        kind: what was looked up, in words ("algorithm", "suite").
        name: what the user asked for.
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
