"""Settings of the process that learners share: compared, and put back."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

_alone = threading.RLock()


class Setting(NamedTuple):
    """A value that the process has one of."""

    name: str  # its name in messages
    read: Callable[[], Any]  # returns it
    write: Callable[[Any], object]  # sets it
    initial: Any = None  # the value right after torch is imported


def import_settings() -> list[Setting]:
    """List the settings that importing a plugin must not change; imports no torch."""
    found = [Setting("the working folder", Path.cwd, os.chdir)]
    if sys.modules.get("torch") is not None:
        import torch  # waits for another thread that is importing it

        found += [
            Setting(f"torch's {name}", getattr(torch, read), getattr(torch, write), initial)
            for name, read, write, initial in (
                ("default dtype", "get_default_dtype", "set_default_dtype", torch.float32),
                ("gradient mode", "is_grad_enabled", "set_grad_enabled", True),
                ("default device", "get_default_device", "set_default_device", torch.device("cpu")),
            )
        ]
    return found


def settings() -> list[Setting]:
    """List the settings that a learner must not change."""
    import numpy as np
    import torch

    return [
        *import_settings(),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "torch's deterministic mode",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        Setting(
            "torch's matmul precision",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        *(
            Setting(
                f"torch.backends.cudnn.{flag}",
                lambda flag=flag: getattr(torch.backends.cudnn, flag),  # type: ignore[misc]
                lambda value, flag=flag: setattr(torch.backends.cudnn, flag, value),  # type: ignore[misc]
            )
            for flag in ("benchmark", "deterministic", "enabled", "allow_tf32")
        ),
        Setting(
            "the garbage collector", gc.isenabled, lambda on: gc.enable() if on else gc.disable()
        ),
        Setting("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        Setting("the clock", lambda: time.perf_counter, lambda f: setattr(time, "perf_counter", f)),
        Setting("NumPy's error handling", np.geterr, lambda value: np.seterr(**value)),
        Setting("the environment", lambda: dict(os.environ), _write_environment),
        Setting("the warning filters", lambda: list(warnings.filters), _write_filters),
        Setting("sys.path", lambda: list(sys.path), _write_path),
    ]


def settings_and_generators() -> list[Setting]:
    """List the settings and the random generators that answering a task must not change."""
    import numpy as np
    import torch

    return [
        *settings(),
        Setting("Python's random generator", random.getstate, random.setstate),
        Setting("NumPy's random generator", np.random.get_state, np.random.set_state),
        Setting("torch's random generator", torch.get_rng_state, torch.set_rng_state),
    ]


@contextmanager
def put_back(listed: Callable[[], list[Setting]]) -> Iterator[list[str]]:
    """Put back what the block changes.

    One thread at a time is in such a block. Otherwise one would put back what another has changed.

    Args:
        listed: lists the settings; called before and after the block, which may import torch.

    Yields:
        A list that holds the names of what was changed when the block is over.
    """
    with _alone:
        before = {setting.name: setting.read() for setting in listed()}
        changed: list[str] = []
        try:
            yield changed
        finally:
            for setting in listed():
                expected = before.get(setting.name, setting.initial)
                if not _equal(setting.read(), expected):
                    changed.append(setting.name)
                    setting.write(expected)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Run the block with torch's defaults, as in a learner process, whatever the caller's are."""
    import torch

    accelerator = torch.accelerator.current_accelerator()
    devices = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device() != torch.device("cpu"):  # this slows every call of torch
            stack.enter_context(torch.device("cpu"))
        for device in devices:
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield


@contextmanager
def no_exit() -> Iterator[None]:
    """Let `os._exit` raise `SystemExit`, as `sys.exit` does, so that no process ends in silence.

    Processes that are forked within the block end by it as usual.

    Raises:
        SystemExit: code in the block called `os._exit`.
    """
    end, pid = os._exit, os.getpid()
    active = True

    def raise_exit(status: int) -> NoReturn:
        if active and os.getpid() == pid:
            raise SystemExit(f"os._exit({status})")
        end(status)  # somebody has kept this function, or this is a forked process

    os._exit = raise_exit
    try:
        yield
    finally:
        os._exit, active = end, False


def _write_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _write_filters(values: list[Any]) -> None:
    warnings.filters[:] = values  # type: ignore[index]


def _write_path(values: list[str]) -> None:
    sys.path[:] = values


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    same = one == other
    return bool(same.all() if hasattr(same, "all") else same)  # of a tensor or an array
