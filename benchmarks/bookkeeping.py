"""The cost of a thousand finished cells: `python -m benchmarks.bookkeeping`.

Writes results for four suites, five algorithms and fifty seeds, like those in the project's own
`results/`. In fresh processes it then times a run of these cells, which are all done, and the
leaderboard over them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.supervisor.cell_result import suite_facts
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request

SUITES = ("digits-5w1s", "digits-5w5s", "glyphs-5w1s", "glyphs-5w5s")
ALGORITHMS = ("cnn-adam", "maml", "meta-sgd", "protonet", "untrained")
SEEDS = 50
ROUNDS = 5
COMMITTED = Path(__file__).parents[1] / "results"


def main() -> None:
    """Print the seconds of both commands, as medians of several rounds."""
    with tempfile.TemporaryDirectory() as folder:
        cells = fill(Path(folder))
        wanted = [word for name in SUITES for word in ("-s", name)]
        wanted += [word for name in ALGORITHMS for word in ("-a", name)]
        again = ["run", *wanted, f"--seeds={SEEDS}", "--budget=standard", f"--results={folder}"]
        commands = {"run again": again, "leaderboard": ["leaderboard", f"--results={folder}"]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                seconds[name].append(timed(command))
        print(f"{cells} finished cells, {os.cpu_count()} cores")
        for name, values in seconds.items():
            shown = ", ".join(f"{value:.2f}" for value in values)
            print(f"{name}: median {median(values):.2f} s of {shown}")


def fill(folder: Path) -> int:
    """Write a result for every cell; return the number of cells."""
    request = Request(SUITES, ALGORITHMS, seeds=SEEDS, budget="standard", results=str(folder))
    template = next(
        result
        for _, result in Store(COMMITTED).read()[0]
        if result.suite.name == "glyphs-5w1s" and result.job.algorithm == "protonet"
    )
    with PreparedRun(request) as prepared:
        for cell in prepared.cells:
            opened = prepared.suites.open(cell.suite)
            facts = suite_facts(cell, opened, None)
            job = replace(
                template.job,
                algorithm=cell.configured.algorithm.name,
                params=dict(cell.configured.params),
                chosen=dict(cell.configured.chosen),
                seed=cell.seed,
                code="" if cell.code is None else cell.code.digest,
            )
            result: Result = replace(template, suite=facts, job=job)
            prepared.store.write(cell.path, result)
        return len(prepared.cells)


def timed(command: list[str]) -> float:
    """Return the seconds of one `metabench` command in a process of its own."""
    start = time.perf_counter()
    whole = [sys.executable, "-m", "metabench", *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=True)
    assert "1000 kept" in done.stderr or "leaderboard" in command, done.stderr
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
