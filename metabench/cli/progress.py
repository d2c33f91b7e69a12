"""The progress of a run: live bars on a terminal, a line for each cell in a pipe."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any, cast

from metabench.cli.output import echo
from metabench.supervisor.runner import Watcher
from metabench.tables import formatting
from metabench.text import one_line
from metabench.threads import thread_starts

if TYPE_CHECKING:
    from metabench.cell.cell import Cell
    from metabench.cell.messages import Progress
    from metabench.results.schema import Result


@contextmanager
def progress(total: int, quiet: bool) -> Iterator[Watcher]:
    """Yield a watcher for `total` cells, which writes to stderr."""
    if quiet:
        yield Watcher()
    elif sys.stderr.isatty():
        with Bars(total) as bars:
            yield bars
    else:
        yield Lines(total)


class Lines(Watcher):
    """One line for each finished cell."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._lock = threading.Lock()

    def finished(self, cell: Cell, result: Result) -> None:
        with self._lock:
            self._done += 1
            echo(f"[{self._done}/{self._total}] {outcome(cell, result)}", err=True)


class _LossyStderr:
    """Stderr, except that what cannot be written is lost: its terminal may be gone."""

    def __init__(self) -> None:
        self._stream = sys.stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class Bars(Watcher):
    """A bar for all cells with the time left, and one for each running cell."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskID, TextColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=cast("IO[str]", _LossyStderr())),
            transient=True,
        )
        self._total, self._done, self._started = total, 0, perf_counter()
        self._all = self._rich.add_task("cells", total=total or 1, note="")
        self._bars: dict[Cell, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Bars:
        with thread_starts():
            self._rich.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._rich.stop()

    def started(self, cell: Cell) -> None:
        with self._lock:
            self._bars[cell] = self._rich.add_task(_escape(str(cell)), total=1.0, note="")

    def progress(self, cell: Cell, progress: Progress) -> None:
        values = (f"{k} {v:.3f}" for k, v in progress.values.items() if v is not None)
        changes: dict[str, Any] = {"note": " ".join(values)} if progress.values else {}
        if progress.fraction:
            changes["completed"] = progress.fraction
        self._rich.update(self._bars[cell], **changes)

    def finished(self, cell: Cell, result: Result) -> None:
        with self._lock:
            self._done += 1
            left = (perf_counter() - self._started) / self._done * (self._total - self._done)
            note = f"{self._done}/{self._total}, about {formatting.duration(left)} left"
            self._rich.update(self._all, completed=self._done, note=note)
            self._rich.remove_task(self._bars.pop(cell))
        self._rich.console.print(_escape(outcome(cell, result)), highlight=False)


def outcome(cell: Cell, result: Result) -> str:
    """Describe a finished cell in one line."""
    if result.status == "ok":
        shown = formatting.score(float(result.per_episode().mean()), result.suite.metric)
    else:
        shown = result.status.replace("_", " ")
        if result.failure and result.failure.reason != shown:
            shown += f": {result.failure.reason}"
    return f"{cell}: {shown} ({formatting.duration(result.wall_s)})"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(one_line(text))
