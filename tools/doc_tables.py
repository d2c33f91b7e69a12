"""Generate the tables of docs/protocols.md from the declarations of datasets.

`python -m tools.doc_tables` rewrites the text between the markers of each table. With `--check`
it writes nothing and fails if a table is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from metabench.data.builtin_datasets import DATASETS
from metabench.data.declared import DatasetSpec, read_spec
from metabench.suites.builtin_suites import SUITES

DOCUMENT = Path(__file__).parents[1] / "docs" / "protocols.md"


def with_tables(text: str) -> str:
    """Return a document with the tables between its markers generated again.

    Raises:
        ValueError: the markers of a table are missing.
    """
    for name, table in (("datasets", _datasets()), ("suites", _suites())):
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->\n"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the document lacks {begin.strip()} or {end.strip()} after it")
        lines = "".join(f"{line}\n" for line in table)
        text = before + begin + lines + end + after
    return text


def main(args: Sequence[str], document: Path = DOCUMENT) -> int:
    """Write the tables, or check them; return the exit status."""
    before = document.read_text(encoding="utf-8")
    after = with_tables(before)
    if after == before:
        return 0
    if "--check" in args:
        print(f"{document.name}: tables are out of date, run `python -m tools.doc_tables`")
        return 1
    document.write_text(after, encoding="utf-8")
    return 0


def _datasets() -> Iterator[str]:
    yield "| name | what | one example | base / validation / novel classes | source |"
    yield "|---|---|---|---|---|"
    for dataset in DATASETS:
        spec = read_spec(dataset)
        shape = "x".join(map(str, spec["shape"]))
        name = dataset.replace("_", "-")
        yield _row(f"`{name}`", spec["what"], shape, _classes(spec), spec["source"])


def _classes(spec: DatasetSpec) -> str:
    counts = " / ".join(f"{count:,}" if count else "none" for count in spec["classes"])
    metrics = {suite.get("metric") for suite in spec["suites"].values()}
    return f"{counts} functions" if "mse" in metrics else counts


def _suites() -> Iterator[str]:
    yield "| suite | dataset | way | shot | queries | episodes | metric | protocol |"
    yield "|---|---|--:|--:|--:|--:|---|---|"
    built = {suite.name: suite for suite in SUITES}
    for dataset in DATASETS:
        for name, spec in read_spec(dataset)["suites"].items():
            suite = built[name]
            split = spec.get("load", "load").removeprefix("load").replace("_", "-")
            yield _row(
                f"`{name}`",
                suite.dataset_name + split,
                suite.way,
                suite.shot,
                suite.query,
                f"{suite.episodes:,}",
                suite.metric,
                spec.get("protocol", "by-split"),
            )


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
