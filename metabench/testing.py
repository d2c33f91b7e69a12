"""Every check of `metabench check` as a pytest test, for the tests of plugins.

@metabench.testing.parametrize_with_checks(["my-algo", "my-algo[lr=0.1]"])
def test_conformance(check):
    check()

Importing this module imports no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from metabench.checks.check_names import CHECKS, FIRST
from metabench.errors import MetabenchError
from metabench.gating import plugin_paths
from metabench.learner import KINDS, Kind

if TYPE_CHECKING:
    from metabench.checks.checked_algorithm import Subject

__all__ = ["parametrize_with_checks"]


def parametrize_with_checks(
    algorithms: Sequence[str], *, plugins: plugin_paths.PluginPaths = ()
) -> Callable[[Any], Any]:
    """Turn a test that calls its argument `check` into one test for each check.

    Args:
        algorithms: addresses, such as "my-algo" or "my-algo[lr=0.1]".
        plugins: modules or files that provide the algorithms, if these are not installed. A
            relative path is looked up in the folder of the caller, then in the working folder.
    """
    files = plugin_paths.find(plugins, _folder(sys._getframe(1)))
    cases = [
        pytest.param(_Check(address, kind, name, files), id=f"{address}-{kind}-{name}")
        for address in algorithms
        for kind in KINDS
        for name in CHECKS
    ]
    return pytest.mark.parametrize("check", cases)


def _folder(caller: FrameType) -> Path:
    """Return the folder of the calling module; at a prompt, the working folder."""
    file: str | None = caller.f_globals.get("__file__")
    return Path(file).parent if file else Path.cwd()


class _Check:
    """One check of one algorithm, which is loaded when the check is called."""

    def __init__(self, address: str, kind: Kind, name: str, plugins: tuple[str, ...]) -> None:
        self.address, self.kind, self.name, self.plugins = address, kind, name, plugins

    def __call__(self) -> None:
        """Fail the test if the check fails; skip it if the check does not apply."""
        from metabench.checks.check_runner import run_check

        try:
            subject = _subject(self.address, self.kind, self.plugins)
        except MetabenchError as error:
            said = f"parametrize_with_checks: {error}"
            raise pytest.fail.Exception(said, pytrace=False) from None
        if subject is None:
            pytest.skip(f"it does not support {self.kind}")
        broken = _broken(self.address, self.kind, self.plugins)
        if broken and self.name not in FIRST:
            pytest.skip(f"{broken} failed")
        found = run_check(self.name, subject)
        if found.status == "failed":
            lines = [f"{self.address} ({subject.file}): {found.message}", f"do: {found.advice}"]
            pytest.fail("\n".join([*lines, found.traceback]).rstrip(), pytrace=False)
        if found.status == "skipped":
            pytest.skip(found.message)


@cache
def _subject(address: str, kind: Kind, plugins: tuple[str, ...]) -> Subject | None:
    """Return the algorithm under test, whose trained learners the checks of a process share."""
    from metabench.checks.checked_algorithm import find_subjects
    from metabench.plugins.registry import load_plugins
    from metabench.plugins.sources import PluginSources

    found = find_subjects(address, load_plugins(PluginSources.from_env((), plugins)))
    return next((subject for subject in found if subject.kind == kind), None)


@cache
def _broken(address: str, kind: Kind, plugins: tuple[str, ...]) -> str:
    """Return the first failing check that all others depend on; "" if there is none."""
    from metabench.checks.check_runner import run_check

    subject = _subject(address, kind, plugins)
    assert subject is not None
    return next((name for name in FIRST if run_check(name, subject).status == "failed"), "")
