"""Suites opened once for all cells of a run, and their training data saved once."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from metabench.errors import DataError, reason
from metabench.leftovers import remove_leftovers, temporary_name
from metabench.suites.open_suite import OpenSuite
from metabench.suites.suite import Suite
from metabench.suites.training_data import TrainingData
from metabench.supervisor.active_run import ActiveRun
from metabench.threads import thread_starts

_log = logging.getLogger(__name__)

_OURS = ".metabench.*.tmp"
_SECONDS_BETWEEN_LOOKS = 0.5  # even a run that finds nothing to do takes longer


class SuiteCache:
    """Suites opened once for all cells of a run, and their training data saved once.

    Learner processes read training data from a temporary folder. They never open the dataset
    itself, which contains the novel classes.

    Args:
        data_root: where datasets are kept; None: the default of the machine.
    """

    def __init__(self, data_root: str | Path | None) -> None:
        self._data_root = data_root
        temporary = Path(tempfile.gettempdir())
        remove_leftovers(temporary.glob(_OURS))
        self._folder = temporary / temporary_name("metabench")
        with contextlib.suppress(OSError):  # an error only when something is saved in it
            self._folder.mkdir()
        self._run = ActiveRun()
        self._opened: dict[int, OpenSuite] = {}  # by id: two suites may share a name
        self._material: dict[str, tuple[TrainingData, Path] | None] = {}
        self._lock = threading.Lock()

    def open(self, suite: Suite) -> OpenSuite:
        """Return the suite with its dataset read.

        Raises:
            DataError: the data is missing or damaged.
        """
        with self._lock:
            if id(suite) not in self._opened:
                opened = self._opened[id(suite)] = suite.open(self._data_root)
                _log.info(
                    "suite %s: %d examples, episodes %s",
                    suite.name,
                    len(opened.dataset.images),
                    opened.episodes.digest[:12],
                )
            return self._opened[id(suite)]

    def material(self, suite: Suite) -> tuple[TrainingData, Path] | None:
        """Return what learners may train on, and the folder it is in; None if there is nothing.

        Raises:
            DataError: the data is missing or damaged, or cannot be saved.
        """
        opened = self.open(suite)
        material = opened.material
        if material is None:
            return None
        # Pixels alone are not enough: the same images may be split differently.
        dataset = opened.dataset
        key = f"{dataset.pixels[:12]}-{dataset.content[:12]}-{material.protocol.replace('/', '-')}"
        with self._lock:
            folder = self._folder / key
            if key not in self._material or not folder.is_dir():  # somebody may tidy up there
                try:
                    folder.mkdir(parents=True)
                    material.save(folder)
                except OSError as error:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise DataError(
                        f"cannot write {folder}: {reason(error)}; free some space there, "
                        "or set TMPDIR to another folder"
                    ) from error
                self._material[key] = (material, folder)
            return self._material[key]

    def alone(self) -> bool:
        """Return whether no other run is active on this machine."""
        return self._run.alone()

    @contextlib.contextmanager
    def other_runs(self) -> Iterator[threading.Event]:
        """Watch for other runs; the event is set once one is seen, even if it ends soon."""
        seen, over = threading.Event(), threading.Event()

        def look() -> None:
            ended = False
            while not (ended or seen.is_set()):
                ended = over.wait(_SECONDS_BETWEEN_LOOKS)
                if not self.alone():
                    seen.set()

        if not self.alone():
            seen.set()
        watcher = threading.Thread(target=look)
        try:
            with thread_starts():
                watcher.start()
        except OSError:  # a machine with no room for a thread is not this run's alone
            seen.set()
        try:
            yield seen
        finally:
            over.set()
            if watcher.ident is not None:
                watcher.join()

    def close(self) -> None:
        """Remove the temporary folder."""
        self._run.close()
        shutil.rmtree(self._folder, ignore_errors=True)
