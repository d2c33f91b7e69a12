"""What a learner process imports, and what it leaves to the garbage collector."""

from __future__ import annotations

import subprocess
import sys


def printed(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_whoever_starts_it_can_end_it_before_torch_is_imported() -> None:
    assert "torch" not in printed("import sys, metabench.worker.main; print(*sys.modules)")


def test_it_imports_torch_and_little_else() -> None:
    loaded = printed("import sys, metabench.worker.serving; print(*sys.modules)")
    unneeded = ["pandas", "scipy", "sklearn", "matplotlib", "PIL", "torchvision", "torch._dynamo"]
    unneeded += ["click", "rich", "tabulate", "metabench.analysis", "metabench.cell.scoring"]
    assert "torch" in loaded
    assert not loaded & set(unneeded)


def test_what_it_imported_is_never_looked_through_for_garbage() -> None:
    code = """
import gc
from metabench.worker.main import _serving
_serving()
print(gc.isenabled(), gc.get_freeze_count() > 10 * len(gc.get_objects()))
"""
    assert printed(code) == {"True"}
