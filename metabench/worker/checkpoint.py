"""Checkpoints of meta-training, from which a killed cell resumes."""

from __future__ import annotations

import hashlib
import io
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metabench.cell.messages import CheckpointSettings
from metabench.errors import DataError, UsageError, reason
from metabench.files import read_file, write_atomically
from metabench.learner import Learner
from metabench.worker import learner_state
from metabench.worker.clock import now
from metabench.worker.state_values import to_arrays, to_tensors

_FORMAT = 3
_DIGEST = hashlib.sha256().digest_size  # bytes at the end of the file

_log = logging.getLogger(__name__)


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
            torch.save({"format": _FORMAT, "of": self._identity, **content()}, buffer)
            if not self._checked:  # a state that cannot be read back is of no use
                torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
                self._checked = True
            digest = hashlib.sha256(buffer.getbuffer()).digest()
            buffer.seek(0, io.SEEK_END)
            buffer.write(digest)
            write_atomically(self._file, buffer.getvalue())
        except Exception as error:  # a state that cannot be saved, or a full disk
            self._gave_up = True
            _log.warning("no checkpoint is kept: %s", reason(error))
        self._written = now()

    def resume(self, learner: Learner) -> dict[str, Any] | None:
        """Restore the learner from the checkpoint of this cell and code, if it fits.

        Returns:
            The content of the checkpoint; None if the learner is as it was built.

        Raises:
            DataError: there is no such checkpoint, and the learner must not be trained.
        """
        content, problem = self._read()
        if content is not None and not learner_state.fits(learner, content["learner"]):
            content, problem = None, "does not fit the learner as it is built"
        if content is not None:
            try:
                learner_state.load_state_dict(learner, content["learner"])
            except UsageError as error:
                content, problem = None, f"does not fit the learner as it is built ({error})"
        if content is None and self.frozen:
            raise DataError(f"checkpoint {self._file} {problem}, and nothing is to be trained")
        if content is None and self._file.exists():
            _log.warning("checkpoint %s %s: training starts again", self._file, problem)
        return content

    def _read(self) -> tuple[dict[str, Any] | None, str]:
        """Return the content of the file, or None and what is wrong with it."""
        if not self._file.exists():
            return None, "is not there"
        try:
            whole = memoryview(read_file(self._file, self._file.stat().st_size))
            if hashlib.sha256(whole[:-_DIGEST]).digest() != whole[-_DIGEST:]:
                return None, "is damaged, or of another version of metabench"
            content = torch.load(
                io.BytesIO(whole[:-_DIGEST]), weights_only=True, map_location="cpu"
            )
        except Exception as error:  # a foreign file, or one that may not be read
            return None, f"cannot be read ({reason(error)})"
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            return None, "has a different format"
        if content["of"] != self._identity and not self.frozen:
            return None, "was made by different code or data"
        return content, ""


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
