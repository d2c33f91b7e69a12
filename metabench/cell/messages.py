"""The messages between supervisor and learner process.

They are msgpack, not pickles: nothing that a plugin's process sends can run code in the
supervisor. The learner process gets images and support labels, never a query label, an image
index or a path to test data.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from metabench.address import Value
from metabench.learner import TaskSpec
from metabench.plugins.sources import PluginSources
from metabench.results import schema


class Array(msgspec.Struct, frozen=True):
    """An array as bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Array:
        """Pack an array."""
        return cls(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())

    def numpy(self) -> npt.NDArray[Any]:
        """Return the array, writable, so that torch takes it as it is."""
        array = np.frombuffer(bytearray(self.data), dtype=np.dtype(self.dtype))
        return array.reshape(self.shape)


class TrainingPlan(msgspec.Struct, frozen=True):
    """The amount of meta-training, and its episodes."""

    training: schema.Training | None  # None: such episodes cannot be drawn
    why_not: str  # why they cannot
    updates: int | None
    tasks: int | None
    seconds: float | None
    training_seed: int
    images_per_task: int  # in the suite: converts images to tasks for non-episodic learners
    validation_episodes: int
    validation_shape: tuple[int, int, int] | None  # way, shot, query; None: no validation


class CheckpointSettings(msgspec.Struct, frozen=True):
    """The place and interval of saving meta-training, so that a killed cell can resume."""

    file: str
    cell: str  # the path of its result
    identity: str  # of the cell; checkpoints of another one, or of other code, are ignored
    every: float  # seconds
    keep: bool  # even when the cell is done
    frozen: bool = False  # use the learner in it, whatever its code, and train nothing


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a learner process."""

    sources: PluginSources = msgspec.field(name="doors")  # so called in metabench 0.1.0
    threads: int  # to compute with
    memory_limit: int | None = None  # bytes


class Start(ProcessSettings, frozen=True, kw_only=True, tag=True):
    """The command to build the learner and meta-train it."""

    algorithm: str
    params: dict[str, Value]
    task: TaskSpec  # without its catalogue of backbones, which the learner process adds
    plan: TrainingPlan | None  # None: there is no base data
    material: str | None  # folder with base and validation examples
    checkpoint: CheckpointSettings | None = None
    suite_code: tuple[str, ...] = ()  # the code that makes data and episodes, each as "module:attr"


class Batch(msgspec.Struct, frozen=True, tag=True):
    """The command to answer T test episodes.

    x uint8 [T, n, C, H, W] and y int64 [T, S]; for regression float32, y [T, S, 1].
    """

    support_x: Array
    support_y: Array
    query_x: Array
    keep_features: bool = False  # keep frozen features from batch to batch; probes do not


class Measure(msgspec.Struct, frozen=True, tag=True):
    """The command to time the learner on test episodes that it has not seen yet."""

    batch: Batch
    seconds: float  # time limit of warm-up and of sampling, in each mode
    tasks: int  # in one block of throughput mode


class Stop(msgspec.Struct, frozen=True, tag=True):
    """The end: there are no more episodes."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """The progress of meta-training, as a fraction, and the newest values of the curve."""

    fraction: float
    values: dict[str, float | None]


class Trained(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Start`: the learner is ready for test episodes."""

    training: schema.MetaTraining | None
    episodic: bool  # it was trained by `meta_step`
    parameters: int
    packages: dict[str, str]
    settings: dict[str, str]  # those of torch that change numbers or speed
    device_name: str | None
    bare_memory: int | None  # bytes before the learner was built
    waited: float | None  # largest share of the training time that a thread waited for a core
    code: str = ""  # digest of the code it runs; "" from releases that do not report it
    files: dict[str, str] = {}  # SHA-256 of the files that the catalogue declares


class Measured(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Measure`: times and memory."""

    timing: schema.Timing
    adapt_memory: int | None  # peak in bytes
    predict_memory: int | None


class Outputs(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Batch`: logits float32 [T, Q, way], or values [T, Q, 1]."""

    logits: Array
    halved: bool = False  # memory did not suffice for all tasks at once


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Sent when the learner raised an exception or does not apply to the suite."""

    status: schema.Status
    reason: str
    traceback: str


ToLearner = Start | Measure | Batch | Stop
FromLearner = Progress | Trained | Measured | Outputs | Failed


class Channel:
    """One end of the connection between supervisor and learner process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._encoder = msgspec.msgpack.Encoder()
        self._to_learner = msgspec.msgpack.Decoder(ToLearner)
        self._from_learner = msgspec.msgpack.Decoder(FromLearner)

    def send(self, message: ToLearner | FromLearner) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone.
        """
        self._connection.send_bytes(self._encoder.encode(message))

    def next_command(self) -> ToLearner:
        """Receive a command, in the learner process.

        Raises:
            EOFError: the supervisor is gone.
        """
        command: ToLearner = self._to_learner.decode(self._connection.recv_bytes())
        return command

    def next_report(self) -> FromLearner:
        """Receive an answer or a report of progress, in the supervisor.

        Raises:
            EOFError: the learner process is gone.
            OSError: likewise.
        """
        report: FromLearner = self._from_learner.decode(self._connection.recv_bytes())
        return report

    def close(self) -> None:
        """Close this end."""
        self._connection.close()
