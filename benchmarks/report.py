"""The table and the JSON of a benchmark."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import limits, peers
from benchmarks.limits import Limits
from benchmarks.options import Options, Refused
from benchmarks.rounds import Row, Spread, spread
from metabench.supervisor.environment import ALLOCATOR, cores, cpu_model, git_state

UNITS = {"s": ("ms", 1e3), "B": ("MiB", 2**-20)}
Benchmark = Callable[..., Iterable[Row]]  # options, and keyword arguments of its own


def main(benchmark: Benchmark, options: Options) -> int:
    """Run one benchmark, print its table and write its JSON; return the exit status."""
    try:
        rows = list(benchmark(options, **options.own))
        found = limits.best(options)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    print(markdown(rows, found, options))
    if options.json is not None:
        write(options.json, document(rows, found, options))
    return 0


def markdown(rows: Sequence[Row], found: Limits, options: Options) -> str:
    """Return the table, followed by the notes that explain it."""
    names = [name for name in (peers.PLAIN, *peers.PACKAGES) if any(name in r.peers for r in rows)]
    head = ["work", "ours", *names, "best peer / ours", "target", "as started / ours", "limit", ""]
    lines = [head, [":--", *["--:"] * (len(head) - 2), ":--"]]
    for row in rows:
        each = (_value(row.peers.get(name), row.unit) for name in names)
        lines.append(
            [
                row.what,
                f"{_value(row.ours, row.unit)} {UNITS[row.unit][0]}",
                *each,
                _times(row.ratio),
                "" if row.target is None else f"{row.target:g}x",
                _times(row.ratio_as_started),
                _of_limit(row),
                {True: "met", False: "**missed**", None: ""}[row.met],
            ]
        )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{notes(found, options)}"


def notes(found: Limits, options: Options) -> str:
    """Describe the measurement, the machine and the patches of peers; name missing peers."""
    lines = [
        f"Medians of {options.rounds} rounds in fresh processes, {options.repeats} repetitions "
        f"each, {options.threads} threads; ratios within a round, then the median (and range) "
        "over rounds. Peers have our allocator settings, except where it says 'as started'.",
        f"{cpu_model()}, {cores()} cores, device {options.device}; convolution "
        f"{found.convolution / 1e9:.0f} GFLOP/s, copy {found.copy / 1e9:.1f} GB/s.",
    ]
    for name, package in peers.PACKAGES.items():
        if peers.present(name, options.peers):
            lines.append(f"{package.requirement}: patches: {package.patches}.")
        else:
            lines.append(
                f"{package.requirement} is missing: fetch it with `python -m benchmarks.peers`."
            )
    return "\n".join(f"* {line}" for line in lines)


def document(rows: Sequence[Row], found: Limits, options: Options) -> dict[str, Any]:
    """Return everything that was measured, for JSON."""
    commit, dirty = git_state(Path.cwd())
    return {
        "schema": 1,
        "environment": {
            "cpu": cpu_model(),
            "cores": cores(),
            "torch": importlib.metadata.version("torch"),
            "commit": commit,
            "dirty": dirty,
            "allocator": dict(ALLOCATOR),
        },
        "rounds": options.rounds,
        "repeats": options.repeats,
        "threads": options.threads,
        "device": options.device,
        "peers": {
            package.requirement: package.patches
            for name, package in peers.PACKAGES.items()
            if peers.present(name, options.peers)
        },
        "limits": asdict(found),
        "rows": [
            {
                **asdict(row),
                "ratio": _as_dict(row.ratio),
                "ratio_as_started": _as_dict(row.ratio_as_started),
                "of_limit": _as_dict(row.of_limit),
                "met": row.met,
            }
            for row in rows
        ],
    }


def write(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, and make its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")


def _as_dict(found: Spread | None) -> dict[str, float] | None:
    return None if found is None else found._asdict()


def _value(values: Sequence[float] | None, unit: str) -> str:
    return "" if values is None else f"{spread(values).median * UNITS[unit][1]:.4g}"


def _times(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:.2f}x ({found.low:.2f}..{found.high:.2f})"


def _of_limit(row: Row) -> str:
    if row.limit is None or row.of_limit is None:
        return ""
    asked = "" if row.limit.times is None else f" (at most {row.limit.times:g})"
    return f"{row.of_limit.median:.2f} x {row.limit.name}{asked}"
