from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cli.running import run_in

from metabench.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch) -> Iterator[Callable[..., Outcome]]:
    """Run `metabench ARGS` in this process, in a folder of the test's own.

    Only the built-in plugin is loaded, whatever else is installed.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METABENCH_PLUGINS", "builtin")
    log = logging.getLogger("metabench")
    before = log.handlers, log.propagate, log.level

    def run(*args: object) -> Outcome:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        return Outcome(code, *capsys.readouterr())

    yield run
    log.handlers, log.propagate, log.level = before


@pytest.fixture(scope="session")
def chance_run(tmp_path_factory) -> Path:
    """A folder in which `chance` was run, with its result in `results-smoke`; for reading only."""
    folder = tmp_path_factory.mktemp("chance")
    assert run_in(folder, "run", "-s", "digits-5w1s", "-a", "chance").code == 0
    return folder
