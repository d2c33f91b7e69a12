"""The cost of starting: `python -m benchmarks.startup`.

Times `import metabench` in a new interpreter, and a whole command that runs a cell which does
nothing. The command is compared with `import torch`, which every cell needs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.contender import ROOT
from benchmarks.options import Options, Refused, parse
from benchmarks.rounds import Limit, Row, alternate

IMPORT = "from time import perf_counter as now; t = now(); import metabench; print(now() - t)"
CELL = ("run", "-s", "digits-5w1s", "-a", "chance", "--budget", "smoke", "-q")
IMPORT_SECONDS = 0.05
CELL_SECONDS = 0.3  # in addition to `import torch`


def rows(options: Options) -> Iterator[Row]:
    """Measure both.

    Raises:
        Refused: a command failed, or another device was requested.
    """
    options.processor_only("starting")
    turns: dict[str, Callable[[], float]] = {
        "metabench": lambda: float(output("-c", IMPORT)),
        "torch": lambda: seconds("-c", "import torch"),
        "cell": cell,
    }
    options.say("import metabench, import torch, a cell that does nothing")
    for turn in turns.values():  # files come from the disk the first time
        turn()
    found = alternate(turns, options.rounds)
    limit = Limit(f"{1000 * IMPORT_SECONDS:.0f} ms", [IMPORT_SECONDS] * options.rounds)
    yield Row("import metabench", "s", found["metabench"], limit=limit)
    allowed = [torch + CELL_SECONDS for torch in found["torch"]]
    limit = Limit(f"(import torch + {CELL_SECONDS:g} s)", allowed)
    yield Row("a cell that does nothing, the whole command", "s", found["cell"], limit=limit)
    yield Row("import torch, the whole process", "s", found["torch"])


def cell() -> float:
    """Return the seconds of running a cell into a folder of its own."""
    with TemporaryDirectory() as results:
        taken = seconds("-m", "metabench", *CELL, "--results", results)
        if not list(Path(results).rglob("chance/*.json")):
            raise Refused("the cell left no result")
    return taken


def seconds(*arguments: str) -> float:
    """Return the seconds of a Python process, from its start to its end."""
    start = time.perf_counter()
    output(*arguments)
    return time.perf_counter() - start


def output(*arguments: str) -> str:
    """Return the output of a Python process."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise Refused(f"{' '.join(arguments)} failed: {said[-1]}")
    return done.stdout


def main() -> int:
    """Measure and print the table."""
    return report.main(rows, parse(__doc__))


if __name__ == "__main__":
    sys.exit(main())
