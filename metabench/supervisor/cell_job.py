"""A cell as a job, in JSON, for another process or machine to run."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from metabench.cell.cell import Cell
from metabench.plugins.registry import Plugins
from metabench.suites.open_suite import OpenSuite
from metabench.supervisor.named_cell import NamedCell, named
from metabench.supervisor.run_settings import RunSettings


class CellJob(msgspec.Struct, frozen=True, kw_only=True):
    """A cell with everything that is needed to run it elsewhere."""

    cell: NamedCell
    settings: RunSettings
    code: str  # digest of the cell's code, as the submitter has it
    episodes: str  # digest of the suite's episodes, likewise

    def encode(self) -> bytes:
        """Return the job as JSON."""
        return msgspec.json.encode(self, enc_hook=str)  # str: of paths

    @classmethod
    def decode(cls, data: bytes) -> CellJob:
        """Read what `encode` gave.

        Raises:
            msgspec.DecodeError: it is not a job.
        """
        return msgspec.json.decode(data, type=cls, dec_hook=lambda kind, value: kind(value))


def job_of(
    cell: Cell, opened: OpenSuite, settings: RunSettings, plugins: Plugins
) -> CellJob | None:
    """Make a job of a cell; None if another process cannot look its suite up.

    Args:
        cell: the cell, its code found.
        opened: its suite.
        settings: how to run it.
        plugins: where its suite and algorithm come from.
    """
    by_name = named(cell, plugins)
    if by_name is None:
        return None
    return CellJob(
        cell=by_name,
        settings=replace(settings, results=settings.results.absolute()),
        code="" if cell.code is None else cell.code.digest,
        episodes=opened.episodes.digest,
    )
