"""Checkpoints of meta-training, from which a killed cell resumes."""

from __future__ import annotations

import hashlib
import io
import logging
import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec
import numpy as np
import torch

from metabench.cell.messages import CheckpointSettings
from metabench.errors import DataError, UsageError, reason
from metabench.files import MAX_CHECKPOINT, open_checkpoint, write_atomically
from metabench.learner import Learner
from metabench.results.schema import Amount, Count, CurvePoint, MetaTraining
from metabench.worker import learner_state
from metabench.worker.clock import now
from metabench.worker.memory import is_out_of_memory
from metabench.worker.state_values import to_arrays, to_tensors

_FORMAT = 4
_DIGEST = hashlib.sha256().digest_size  # bytes at the end of the file
_DAMAGED = "is damaged, or of another version of metabench"

_log = logging.getLogger(__name__)


class Saved(msgspec.Struct):
    """The content of every checkpoint."""

    format: int
    cell: str
    of: str  # the identity of the cell, and the digest of the code that trained
    learner: dict[Any, Any]


class SavedFit(Saved):
    """The content of a checkpoint after `fit`."""

    training: MetaTraining


class SavedLoop(Saved):
    """The content of a checkpoint of the outer loop: all that the rest of training depends on."""

    update: Count
    seconds: Amount
    losses: list[float]
    curve: list[CurvePoint]
    best: tuple[float, Count, dict[Any, Any]] | None
    points: Count
    resumed: Count
    peak: Count | None
    generators: dict[str, Any]


Content = TypeVar("Content", SavedFit, SavedLoop)


class CheckpointFile:
    """A checkpoint on disk, written at intervals and read when training resumes.

    It holds tensors and plain values only and is read with `weights_only=True`, so that a
    results folder from elsewhere runs no code here. It ends with the SHA-256 of all bytes before,
    because a changed bit would otherwise change the score unnoticed.

    Args:
        checkpoint: the file, and the cell that it belongs to.
        code: the digest of the code that trains; checkpoints from different code are ignored.
    """

    def __init__(self, checkpoint: CheckpointSettings, code: str) -> None:
        self._file, self._of = Path(checkpoint.file), checkpoint
        self._identity = f"{checkpoint.identity} {code}"
        self._written = now()
        self._gave_up = self._checked = False
        self.frozen = checkpoint.frozen

    def due(self, done: bool, seconds: float) -> bool:
        """Return whether to write a checkpoint now.

        Args:
            done: training is complete. A long training is then kept, because the process may
                still be killed during the test.
            seconds: length of training so far.
        """
        if self._gave_up:
            return False
        if done:
            return self._of.keep or seconds >= self._of.every
        return now() - self._written >= self._of.every

    def save(self, content: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint of what `content` returns; if that fails, training continues."""
        buffer = io.BytesIO()
        try:
            known = {"format": _FORMAT, "cell": self._of.cell, "of": self._identity}
            torch.save({**known, **content()}, buffer)
            if not self._checked:  # a state that cannot be read back is of no use
                torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
                self._checked = True
            if buffer.getbuffer().nbytes > MAX_CHECKPOINT - _DIGEST:
                raise UsageError(f"it would be larger than {MAX_CHECKPOINT >> 30} GiB")
            digest = hashlib.sha256(buffer.getbuffer()).digest()
            buffer.seek(0, io.SEEK_END)
            buffer.write(digest)
            write_atomically(self._file, buffer.getvalue())
        except Exception as error:  # a state that cannot be saved, or a full disk
            self._gave_up = True
            _log.warning("no checkpoint is kept: %s", reason(error))
        self._written = now()

    def resume(self, learner: Learner, form: type[Content]) -> Content | None:
        """Restore the learner from the checkpoint of this cell and code, if it fits.

        Args:
            learner: as it was built.
            form: the content that the checkpoint must have.

        Returns:
            The content of the checkpoint; None if the learner is as it was built.

        Raises:
            DataError: there is no such checkpoint, and the learner must not be trained.
        """
        content, problem = self._read(form)
        if content is not None:
            problem = _restore(learner, content)
        if not problem:
            return content
        if self.frozen:
            raise DataError(f"checkpoint {self._file} {problem}, and --frozen forbids training")
        if os.path.lexists(self._file):
            _log.warning("checkpoint %s %s: training starts again", self._file, problem)
        return None

    def _read(self, form: type[Content]) -> tuple[Content | None, str]:
        """Return the content of the file, or None and what is wrong with it."""
        if not os.path.lexists(self._file):
            return None, "does not exist"
        try:
            with open_checkpoint(self._file, self._file.parent) as stream:
                size = os.fstat(stream.fileno()).st_size - _DIGEST
                if size < 1:
                    return None, _DAMAGED
                # Mapped, because a file of unknown origin must not fill the memory.
                with mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) as body:
                    stream.seek(size)
                    if hashlib.sha256(body).digest() != stream.read():
                        return None, _DAMAGED
                    found = torch.load(cast(IO[bytes], body), weights_only=True, map_location="cpu")
            if not isinstance(found, dict) or found.get("format") != _FORMAT:
                return None, "has a different format"
            content = msgspec.convert(found, form)
        except Exception as error:  # a foreign file, or one that may not be read
            return None, f"cannot be read ({reason(error)})"
        if self.frozen and content.cell != self._of.cell:
            return None, f"is of another cell, {content.cell}"
        if content.of != self._identity and not self.frozen:
            return None, "was made by different code or data"
        return content, ""


def _restore(learner: Learner, content: SavedFit | SavedLoop) -> str:
    """Restore the learner and all generators; if that fails, return why and change nothing."""
    device = learner.task.device
    before = generators(device)
    try:
        if isinstance(content, SavedLoop):
            set_generators(content.generators, device)
        if not learner_state.fits(learner, content.learner):
            problem = "does not fit the learner as it is built"
        else:
            learner_state.load_state_dict(learner, content.learner)
            if isinstance(content, SavedLoop):  # the learner may have drawn from them
                set_generators(content.generators, device)
            return ""
    except UsageError as error:
        problem = f"does not fit the learner as it is built ({error})"
    except Exception as error:  # of the right form, with other values than metabench writes
        if is_out_of_memory(error):
            raise
        problem = f"cannot be read ({reason(error)})"
    set_generators(before, device)
    return problem


def generators(device: str) -> dict[str, Any]:
    """Return the state of every global generator a learner might use, as plain values."""
    numpy = to_tensors(np.random.get_state(legacy=False))
    states = {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state()}
    if device != "cpu":
        states["device"] = _device_module(device).get_rng_state(device)
    return states


def set_generators(states: dict[str, Any], device: str) -> None:
    """Restore the states that `generators` returned."""
    random.setstate(states["python"])
    np.random.set_state(to_arrays(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if device != "cpu":
        _device_module(device).set_rng_state(states["device"], device)


def _device_module(device: str) -> Any:
    return torch.get_device_module(torch.device(device).type)
