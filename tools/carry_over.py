"""Keep stored results valid across a change of code that does not alter their outputs.

The digest of a result's code changes with the code. If its cell, run again on the same machine by
the old and by the new code, gives equal outputs, then the result may have the new digest:

    python tools/carry_over.py run results before.jsonl                  # at the old commit
    python tools/carry_over.py run results after.jsonl --of before.jsonl  # at the new commit
    python tools/carry_over.py write results before.jsonl after.jsonl

`run` measures no times. Without `--of` it runs the results whose code is up to date. If it is
interrupted, the same command resumes. `write` changes the digest in the files of results with equal
outputs, and lists the others, which become stale.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from metabench.errors import MetabenchError
from metabench.gating.replaying import replay
from metabench.plugins.registry import load_plugins
from metabench.results.schema import Result, scored_blocks
from metabench.results.store import ALTERED, Store
from metabench.supervisor.cell_from_result import cell_of
from metabench.supervisor.request import Request


def run(store: Store, file: Path, of: Path | None = None) -> None:
    """Run stored cells again, and append a line to a file for each: its code and its outputs.

    Args:
        store: the results.
        file: where the lines go; cells that are in it are not run again.
        of: run the cells of the lines in this file; None: those whose code is up to date.
    """
    done = read_lines(file)
    wanted = None if of is None else read_lines(of)
    plugins = load_plugins()
    for path, result in store.read()[0]:
        name = path.as_posix()
        if name in done or result.scores is None or not (wanted is None or name in wanted):
            continue
        try:
            code = cell_of(result, plugins, None).code
            if wanted is None and (code is None or code.digest != result.job.code):
                continue  # already stale
            new = replay(result, Request())
        except MetabenchError as error:  # its suite, plugin or device is not here
            print(f"{name}: {error}")
            continue
        line = {"path": name, "code": new.job.code, "outputs": outputs(new)}
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def outputs(result: Result) -> list[object]:
    """Return the digests of all outputs of a result, then its learning curve; [] without scores."""
    if result.scores is None:
        return []
    curve = [] if result.training is None else result.training.curve
    return [
        *(scores.outputs_digest for scores in scored_blocks(result)),
        *([point.update, sorted(point.values.items())] for point in curve),
    ]


def write(store: Store, before: Path, after: Path) -> list[str]:
    """Give results with equal outputs the digest of the new code; return a line for each other."""
    plugins, new = load_plugins(), read_lines(after)
    left = []
    for name, old in read_lines(before).items():
        result = store.load(Path(name))
        if result is None or result.job.code != old["code"]:
            left.append(f"{name}: its code is not that of {before.name}")
        elif result.altered:
            left.append(f"{name}: {ALTERED}")
        elif name not in new:
            left.append(f"{name}: not run by the new code")
        elif not old["outputs"] or new[name]["outputs"] != old["outputs"]:
            left.append(f"{name}: different outputs")
        else:
            code = cell_of(result, plugins, None).code
            if code is None or code.digest != new[name]["code"]:
                left.append(f"{name}: the current code is not that of {after.name}")
                continue
            store.write_code(code.digest, code.definitions)
            store.write(Path(name), replace(result, job=replace(result.job, code=code.digest)))
    return left


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """Return the lines that `run` wrote, by the path of the result."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return {line["path"]: line for line in map(json.loads, text.splitlines())}


def main() -> None:
    """Run one command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    runs = verbs.add_parser("run", help="run stored cells again")
    writes = verbs.add_parser("write", help="change digests where outputs are equal")
    for verb in (runs, writes):
        verb.add_argument("results", type=lambda folder: Store(Path(folder)))
    runs.add_argument("file", type=Path)
    runs.add_argument("--of", type=Path, help="run the cells of the lines in this file")
    writes.add_argument("before", type=Path)
    writes.add_argument("after", type=Path)
    asked = parser.parse_args()
    if asked.verb == "run":
        run(asked.results, asked.file, asked.of)
    else:
        for line in write(asked.results, asked.before, asked.after):
            print(line)


if __name__ == "__main__":
    main()
