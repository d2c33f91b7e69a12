"""The probes of the machine."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import limits
from benchmarks.limits import Limits
from benchmarks.options import Options, Refused


def test_both_rates_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.01)
    monkeypatch.setattr(limits, "COPIED", 2**16)
    assert limits.convolution_rate("cpu") > 0
    assert limits.copy_rate("cpu") > 0


def test_the_best_of_all_probes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([{"convolution": 2.0, "copy": 1.0}, {"convolution": 1.0, "copy": 3.0}])

    def run(command: list[str], **others: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, json.dumps(next(found)), "")

    monkeypatch.setattr(limits, "_found", [])
    monkeypatch.setattr(subprocess, "run", run)
    assert limits.best(Options()) == Limits(2.0, 1.0)  # there was none
    assert limits.best(Options()) == Limits(2.0, 1.0)
    assert limits.probe(Options()) == Limits(2.0, 3.0)


def test_a_probe_that_fails_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **others: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "...\nno memory\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(Refused, match="the probe of the machine failed: no memory"):
        limits.probe(Options())
