"""A contender runs in a process of its own."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

import pytest

from benchmarks.contender import Spec, start, surroundings, timed
from benchmarks.options import Refused
from benchmarks.peers import PLAIN
from benchmarks.setting import Setting
from metabench.supervisor.environment import ALLOCATOR


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is Linux's")
def test_a_fresh_process_measures_a_contender(small: Setting) -> None:
    case = replace(small, double=False).as_json()
    spec = Spec("benchmarks.maml", PLAIN, case, "memory", repeats=1, threads=1)
    assert 0 < start(spec) < 2**30  # not this process's memory, which may be anything


def test_a_contender_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(Refused, match=r"benchmarks\.maml: higher failed: exit status 1"):
        start(Spec("benchmarks.maml", "higher"))


def test_allocator_settings_are_given_or_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(ALLOCATOR))
    monkeypatch.setenv(name, "other")
    assert surroundings(allocator=True)[name] == ALLOCATOR[name]
    assert surroundings(allocator=False).keys().isdisjoint(ALLOCATOR)


def test_a_job_does_the_work_and_takes_the_time() -> None:
    done: list[int] = []
    job = timed(lambda: done.append(1))
    assert job() >= 0
    assert done == [1]
