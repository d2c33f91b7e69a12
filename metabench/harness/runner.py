"""Many cells: side by side if asked for, each stored the moment it is finished."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from metabench.data.dataset import Examples, Targets
from metabench.errors import DataError
from metabench.harness.cell import Cell
from metabench.harness.messages import Progress
from metabench.harness.plan import Planned
from metabench.harness.supervisor import Conditions, Supervisor
from metabench.plugins import Plugins
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.suites.material import Material
from metabench.suites.opened import OpenSuite
from metabench.suites.suite import Suite


class Watcher(Protocol):
    """Told what happens, from the thread that runs the cell."""

    def started(self, cell: Cell) -> None: ...
    def progress(self, cell: Cell, progress: Progress) -> None: ...
    def finished(self, cell: Cell, result: Result) -> None: ...


class Library:
    """Suites opened once for all cells of a run, their training material saved once.

    Learner processes read material from a temporary folder and never open the dataset
    itself, which has the novel classes in it.
    """

    def __init__(self, data_root: str | Path | None) -> None:
        self._data_root = data_root
        self._folder = tempfile.TemporaryDirectory(prefix="metabench-")
        self._opened: dict[int, OpenSuite] = {}  # by id: two suites may share a name
        self._material: dict[str, tuple[Material, Path] | None] = {}
        self._lock = threading.Lock()

    def open(self, suite: Suite) -> OpenSuite:
        """The suite with its dataset read.

        Raises:
            DataError: the data is missing or damaged.
        """
        with self._lock:
            if id(suite) not in self._opened:
                self._opened[id(suite)] = suite.open(self._data_root)
            return self._opened[id(suite)]

    def material(self, suite: Suite) -> tuple[Material, Path] | None:
        """What learners may train on, and the folder it is in; None if there is nothing."""
        opened = self.open(suite)
        material = opened.material
        if material is None:
            return None
        # Pixels alone would not do: the same images may be split in several ways.
        dataset = opened.dataset
        key = f"{dataset.pixels[:12]}-{dataset.content[:12]}-{material.protocol.replace('/', '-')}"
        with self._lock:
            if key not in self._material:
                folder = Path(self._folder.name) / key
                folder.mkdir()
                material.save(folder)
                self._material[key] = (material, folder)
            return self._material[key]

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()


def check_unseen(cell: Cell, library: Library) -> None:
    """Refuse to train on another suite's base data if test images (or functions) are in it.

    Raises:
        DataError: they are.
    """
    if cell.train_on is None:
        return
    found = library.material(cell.train_on)
    if found is None:
        return
    opened = library.open(cell.suite)
    dataset, manifest = opened.dataset, opened.episodes
    members = np.unique(np.concatenate([manifest.support.ravel(), manifest.query.ravel()]))
    targets = None if dataset.targets is None else dataset.targets[members]
    twins = int(np.isin(_rows(dataset.images[members], targets), _seen(found[0])).sum())
    by_chance = 0 if targets is None else len(members) // 100  # points that agree to the last bit
    if twins > by_chance:
        what = "images" if targets is None else "points"
        raise DataError(
            f"{twins} of {len(members)} test {what} of {cell.suite.name} are in the base data of "
            f"{cell.train_on.name}: train on another suite"
        )


def _seen(material: Material) -> npt.NDArray[np.void]:
    return _rows(material.images, material.targets)


def _rows(examples: Examples, targets: Targets | None) -> npt.NDArray[np.void]:
    """Each example, with its target if it has one, as one value that can be compared."""
    flat = examples.reshape(len(examples), -1)
    rows = flat if targets is None else np.hstack([flat, targets])
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.itemsize}").ravel()


class Runner:
    """Runs planned cells and stores their results.

    Args:
        store: where results go.
        library: where suites come from.
        plugins: told about finished cells.
        conditions: how cells are run.
        watcher: told what happens.
    """

    def __init__(
        self,
        store: Store,
        library: Library,
        plugins: Plugins,
        conditions: Conditions,
        watcher: Watcher,
    ) -> None:
        self.store, self.library, self.plugins = store, library, plugins
        self.conditions, self.watcher = conditions, watcher
        self._running: set[Supervisor] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def run(self, planned: Sequence[Planned], jobs: int) -> list[Result]:
        """Run the cells that are to be run, `jobs` at a time.

        Raises:
            KeyboardInterrupt: the user asked to stop; finished cells are stored.
            DataError: results cannot be written.
        """
        todo = [p for p in planned if p.todo]
        results: list[Result] = []
        with ThreadPoolExecutor(jobs) as pool:
            futures: set[Future[Result]] = {pool.submit(self._run_one, p) for p in todo}
            try:
                while futures:
                    # A timeout, because a wait without one would not see Ctrl-C.
                    done, futures = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                    results += [future.result() for future in done]
            except BaseException:
                for future in futures:
                    future.cancel()
                self._stop()
                raise
        return results

    def _run_one(self, planned: Planned) -> Result:
        cell = planned.cell
        if planned.state == "damaged":
            self.store.set_aside(cell.path)
        self.watcher.started(cell)
        supervisor = Supervisor(
            cell,
            self.library.open(cell.suite),
            self.library.material(cell.train_on or cell.suite),
            self.conditions,
            lambda progress: self.watcher.progress(cell, progress),
        )
        with self._lock:
            self._running.add(supervisor)
            if self._stopping:
                supervisor.stop()
        result = supervisor.run()
        with self._lock:
            self._running.discard(supervisor)
        # An interrupted attempt must not take the place of an older score.
        if result.status != "interrupted" or not (planned.stored and planned.stored.scores):
            self.store.write(cell.path, result)
        self.watcher.finished(cell, result)
        self.plugins.cell_finished(cell, result)
        return result

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            running = list(self._running)
        threads = [threading.Thread(target=supervisor.stop) for supervisor in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
