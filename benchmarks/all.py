"""Every speed benchmark, one table: `python -m benchmarks.all [--only NAME ...]`.

Writes `speed.md` and `speed.json` into `--out`. Benchmarks that cannot be run are named; the
others still run.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks import adaptation, limits, maml, memory, protonet, report, sampling, startup
from benchmarks.options import Options, Refused, parse
from benchmarks.rounds import Row

OUT = Path("build/benchmarks")

BENCHMARKS: dict[str, Callable[[Options], Iterable[Row]]] = {
    "maml": maml.rows,
    "meta-sgd": partial(maml.rows, meta_sgd=True),
    "maml-first-order": partial(maml.rows, first_order=True),
    "meta-sgd-first-order": partial(maml.rows, meta_sgd=True, first_order=True),
    "adaptation": adaptation.rows,
    "protonet": protonet.rows,
    "sampling": sampling.rows,
    "memory": memory.rows,
    "startup": startup.rows,
}


def add(parser: ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the table and the JSON")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))


def main() -> int:
    """Measure everything; return 1 if something could not be measured."""
    options = parse(__doc__, add)
    out: Path = options.own["out"]
    rows: list[Row] = []
    refusals: list[str] = []
    for name in options.own["only"]:
        try:
            for row in BENCHMARKS[name](options):
                rows.append(row)
                save(rows, options, out)  # what there is stays if the rest is interrupted
        except Refused as refusal:
            refusals.append(str(refusal))
            options.say(f"not measured: {refusal}")
    if rows:
        print((out / "speed.md").read_text())
    for refusal in refusals:
        print(f"not measured: {refusal}")
    return 1 if refusals else 0


def save(rows: list[Row], options: Options, out: Path) -> None:
    """Write the table and the JSON of the rows measured so far."""
    found = limits.best(options)
    report.write(out / "speed.json", report.document(rows, found, options))
    (out / "speed.md").write_text(report.markdown(rows, found, options) + "\n")


if __name__ == "__main__":
    sys.exit(main())
