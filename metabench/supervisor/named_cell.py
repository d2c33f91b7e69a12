"""A cell by the names of its parts, as a file or another process can hold it."""

from __future__ import annotations

import msgspec

from metabench import address
from metabench.address import Value
from metabench.cell.cell import Cell
from metabench.plugins.registry import Plugins
from metabench.suites.suite import Suite
from metabench.supervisor.lookup import (
    find_algorithm,
    find_budget,
    find_device,
    find_suite,
    with_code,
)


class NamedCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell by the names of its parts."""

    suite: str  # a name or an address
    train_on: str | None
    algorithm: str
    params: dict[str, Value]  # those that are not to take their default
    seed: int
    budget: str
    device: str
    tasks_at_once: int

    def find(self, plugins: Plugins, data_root: str | None) -> Cell:
        """Look the parts up.

        Args:
            plugins: where suites and algorithms come from.
            data_root: where datasets are kept.

        Raises:
            UsageError: suite, algorithm, a parameter or the device does not exist.
            DataError: the data of a suite's address cannot be read.
        """
        suite = find_suite(self.suite, plugins, data_root)
        texts = {key: address.show(value) for key, value in self.params.items()}
        cell = Cell(
            suite=suite,
            configured=find_algorithm(self.algorithm, texts, plugins, suite.kind),
            seed=self.seed,
            budget=find_budget(self.budget),
            device=find_device(self.device),
            train_on=None if not self.train_on else find_suite(self.train_on, plugins, data_root),
            tasks_at_once=self.tasks_at_once,
        )
        return with_code(cell, plugins)


def named(cell: Cell, plugins: Plugins) -> NamedCell | None:
    """Name the parts of a cell; None if one of its suites has neither name nor address.

    Such suites are made from arrays or folders in Python: no other process can look them up.
    """
    suite = _name(cell.suite, plugins)
    train_on = None if cell.train_on is None else _name(cell.train_on, plugins)
    if not suite or train_on == "":
        return None
    return NamedCell(
        suite=suite,
        train_on=train_on,
        algorithm=cell.configured.algorithm.name,
        params=dict(cell.configured.chosen),
        seed=cell.seed,
        budget=cell.budget.name,
        device=cell.device,
        tasks_at_once=cell.tasks_at_once,
    )


def _name(suite: Suite, plugins: Plugins) -> str:
    """Return the address of a suite or its name in the catalogue; "" if it has neither."""
    known = plugins.suites.get(suite.name)
    return suite.address or (suite.name if known is not None and known.spec == suite else "")
