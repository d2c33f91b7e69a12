"""First-time work in a timed block is found."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from metabench.worker.cold_start import Audit


def test_a_block_that_only_works_is_warm() -> None:
    audit = Audit("cpu")
    torch.ones(3).sum()
    assert audit.cold() == []


def test_an_import_is_named_by_its_package(monkeypatch) -> None:
    audit = Audit("cpu")
    for name in ("late", "late.part", "b", "c", "d"):
        monkeypatch.setitem(sys.modules, name, sys)
    assert audit.cold() == ["imported b, c, d and 1 more"]


def test_a_compilation_is_noticed() -> None:
    from torch._dynamo.utils import counters

    audit = Audit("cpu")
    torch.compile(lambda x: x + 1, backend="eager", fullgraph=True)(torch.ones(3))
    assert counters["stats"]["unique_graphs"] > 0
    assert audit.cold()[-1] == "compiled"


def test_growing_device_memory_is_noticed(monkeypatch) -> None:
    sizes = iter([2**20, 5 * 2**20])
    monkeypatch.setattr(torch.accelerator, "memory_reserved", lambda device: next(sizes))
    assert Audit("cuda").cold() == ["took 4 MiB more of the device"]


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux's schedstat")
def test_threads_that_share_one_core_are_found_waiting() -> None:
    def spin(until: float) -> None:
        while time.monotonic() < until:
            torch.ones(20_000).sum()  # without the interpreter's lock

    own = sys.modules["os"].sched_getaffinity(0)
    sys.modules["os"].sched_setaffinity(0, {min(own)})
    try:
        audit = Audit("cpu")
        until = time.monotonic() + 0.5
        other = threading.Thread(target=spin, args=(until,))
        other.start()
        spin(until)
        waited = audit.waited()
        other.join()
    finally:
        sys.modules["os"].sched_setaffinity(0, own)
    assert waited is not None
    assert waited > 0.2
