"""The environment of a cell: machine, software and settings, recorded in every result."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import metabench
from metabench.cell.messages import Trained
from metabench.git import GitError, GitTimeout, git
from metabench.results import BASELINES, DEFAULT_FOLDER, TRIAL_FOLDER
from metabench.results.schema import Environment

if TYPE_CHECKING:
    from metabench.supervisor.run_settings import RunSettings

# glibc maps and unmaps large activations at every step, and the page faults dominate; these
# settings keep the memory. All learner processes of a run start with them, or none does.
ALLOCATOR: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "67108864",
}
_log = logging.getLogger(__name__)

_SUBMODULE = "160000 "  # the mode of one in the index


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(settings: RunSettings, trained: Trained | None, contended: bool) -> Environment:
    """Return the environment of a cell.

    Args:
        settings: how the cell was run.
        trained: the report of the learner process, which knows packages, settings of torch and
            device; None if there is none.
        contended: other cells or runs were active on the machine.
    """
    commit, dirty = git_state(settings.results)
    return Environment(
        metabench=metabench.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu_model(),
        cores=cores(),
        threads=settings.process.threads,
        memory_mib=memory_mib(),
        packages={} if trained is None else trained.packages,
        settings={} if trained is None else trained.settings,
        device_name=None if trained is None else trained.device_name,
        allocator=dict(settings.allocator),
        commit=commit,
        dirty=dirty,
        contended=contended,
        plugins=list(settings.process.sources.options),
    )


def memory_mib() -> int | None:
    """Return the machine's memory in MiB; None where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (AttributeError, ValueError, OSError):  # not everywhere
        return None


@cache
def cpu_model() -> str:
    """Return the CPU's name as the system reports it."""
    info = Path("/proc/cpuinfo")
    named = describe_cpu(info.read_text()) if info.exists() else ""
    return named or platform.processor() or platform.machine()


def describe_cpu(info: str) -> str:
    """Return name, family and model of the first CPU in a /proc/cpuinfo text; "" without a name.

    Virtual machines shorten names, so processors of several generations share one: family and
    model keep their times apart.
    """
    values: dict[str, str] = {}
    for line in info.splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    name, family, model = (values.get(key, "") for key in ("model name", "cpu family", "model"))
    return f"{name} (family {family} model {model})" if name and family and model else name


def git_state(results: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the working folder, and whether it has changes; None: unknown.

    Files that runs write do not count: the results folder, leaderboard files, the baselines of
    accuracy tests. Changes within submodules are unknown, because git would be run by their
    configurations. A file with a filter, such as that of Git LFS, may count as changed if it was
    only touched.
    """
    try:
        commit, top = git("rev-parse", "HEAD"), Path(git("rev-parse", "--show-toplevel"))
    except GitError as error:
        _warn(error, "the commit of results is unknown")
        return None, None
    ours = [f":(exclude,top){path}" for path in (DEFAULT_FOLDER, TRIAL_FOLDER, "leaderboard.md")]
    ours.append(f":(exclude,top,glob)**/{BASELINES}/**")
    here = results.resolve()
    if here.is_relative_to(top) and here != top:
        ours.append(f":(exclude,top,literal){here.relative_to(top).as_posix()}")
    try:
        if git("status", "--porcelain", "--ignore-submodules=dirty", "--", ":(top)", *ours):
            return commit, True
        tracked = git("ls-files", "--stage", "-z", "--", ":(top)", *ours, folder=top)
    except GitError as error:
        _warn(error, "results do not say whether code had changes that were not committed")
        return commit, None
    submodules = (
        entry.partition("\t")[2] for entry in tracked.split("\0") if entry.startswith(_SUBMODULE)
    )
    return commit, None if any((top / path / ".git").exists() for path in submodules) else False


def _warn(error: GitError, effect: str) -> None:
    if isinstance(error, GitTimeout):  # others are usual: no repository, no git
        _log.warning("%s: %s", error, effect)
