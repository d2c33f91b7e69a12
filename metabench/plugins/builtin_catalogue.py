"""The suites and backbones that come with metabench, provided by the same hooks as a plugin's.

Unlike a plugin, it is always there: it has no row, and nothing blocks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from metabench.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from metabench.learner import Backbone
    from metabench.suites.suite import Suite


@hookimpl
def metabench_suites() -> Iterable[Suite]:
    """Return the built-in suites."""
    from metabench.suites.builtin_suites import SUITES

    return SUITES


@hookimpl
def metabench_backbones() -> Iterable[Backbone]:
    """Return the built-in backbones."""
    from metabench.nets.backbones import BACKBONES

    return BACKBONES
