"""A learner process: its imports, and the objects that it leaves to the garbage collector."""

from __future__ import annotations

import subprocess
import sys
import threading
from multiprocessing import Pipe

import pytest

from metabench.cell.messages import Channel, Failed, Stop
from metabench.worker import main


def printed(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_whoever_starts_it_can_end_it_before_torch_is_imported() -> None:
    code = r"import sys, metabench.worker.main; print(*sys.modules, sep='\n')"
    assert "torch" not in printed(code)


@pytest.fixture(scope="module")
def begun() -> set[str]:
    """Names of the modules of a learner process that has begun, and what holds of its garbage."""
    return printed("""
import gc, sys
from metabench.worker.main import _serving
_serving()
print(*sys.modules)
print("collected:", gc.isenabled())
print("set aside:", gc.get_freeze_count() > 10 * len(gc.get_objects()))
""")


def test_it_imports_torch_and_little_else(begun: set[str]) -> None:
    loaded = {line for lines in begun for line in lines.split()}
    unneeded = ["pandas", "scipy", "sklearn", "matplotlib", "PIL", "torchvision", "torch._dynamo"]
    unneeded += ["click", "rich", "tabulate", "metabench.analysis", "metabench.cell.scoring"]
    assert "torch" in loaded
    assert not loaded & set(unneeded)


def test_what_it_imported_is_never_looked_through_for_garbage(begun: set[str]) -> None:
    assert {"collected: True", "set aside: True"} <= begun


def test_a_process_that_gets_no_thread_answers_that_it_could_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    own, other = map(Channel, Pipe())
    own.send(Stop())
    main._begun(-1)(other)
    report = own.next_report()
    assert isinstance(report, Failed)
    assert report.status == "interrupted"
    assert report.reason.startswith("the learner process could not begin: can't start")
    assert "can't start new thread" in report.reason
