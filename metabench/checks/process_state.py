"""The state of the process that a learner has to leave alone."""

from __future__ import annotations

import gc
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch


class _Setting(NamedTuple):
    """How one piece of state is read, put back, and called."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _write_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _write_filters(values: list[Any]) -> None:
    warnings.filters[:] = values  # type: ignore[index]


def _write_path(values: list[str]) -> None:
    sys.path[:] = values


_SETTINGS = (
    _Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    _Setting(
        "torch's deterministic mode",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    _Setting(
        "torch's matmul precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    *(
        _Setting(
            f"torch.backends.cudnn.{flag}",
            lambda flag=flag: getattr(torch.backends.cudnn, flag),  # type: ignore[misc]
            lambda value, flag=flag: setattr(torch.backends.cudnn, flag, value),  # type: ignore[misc]
        )
        for flag in ("benchmark", "deterministic", "enabled", "allow_tf32")
    ),
    _Setting("torch's default device", torch.get_default_device, torch.set_default_device),
    _Setting("the garbage collector", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    _Setting("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting("the clock", lambda: time.perf_counter, lambda f: setattr(time, "perf_counter", f)),
    _Setting("NumPy's error handling", np.geterr, lambda value: np.seterr(**value)),
    _Setting("the working folder", Path.cwd, os.chdir),
    _Setting("the environment", lambda: dict(os.environ), _write_environment),
    _Setting("the warning filters", lambda: list(warnings.filters), _write_filters),
    _Setting("sys.path", lambda: list(sys.path), _write_path),
)

_GENERATORS = (
    _Setting("Python's random generator", random.getstate, random.setstate),
    _Setting("NumPy's random generator", np.random.get_state, np.random.set_state),
    _Setting("torch's random generator", torch.get_rng_state, torch.set_rng_state),
)


@contextmanager
def watched(generators: bool = True) -> Iterator[list[str]]:
    """Name what the block changes, and put it back.

    Args:
        generators: also the random generators.

    Yields:
        A list that holds the names when the block is over.
    """
    settings = [*_SETTINGS, *(_GENERATORS if generators else ())]
    before = [setting.read() for setting in settings]
    found: list[str] = []
    try:
        yield found
    finally:
        for setting, value in zip(settings, before, strict=True):
            if not _equal(setting.read(), value):
                found.append(setting.name)
                setting.write(value)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
