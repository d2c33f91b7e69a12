"""A session: what it counts of a learner, and its failures as messages."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import torch
from training_materials import task

from metabench import Learner, Support, class_means, squared_distances
from metabench.errors import UsageError
from metabench.worker.session import Session, failure, setting_up


def test_a_huge_exception_is_shortened_in_the_result_and_whole_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError as error:
        found = failure(error)
    assert len(found.reason) < 1_000
    assert len(found.traceback) < 21_000
    assert found.traceback.startswith("Traceback")
    assert "characters left out ...]xxx" in found.traceback
    assert "x" * 1_000_000 in capsys.readouterr().err


def test_a_failure_before_the_learner_is_built_is_not_final() -> None:
    with pytest.raises(Exception) as raised, setting_up():  # noqa: PT011
        raise UsageError("memory limit of 1 MiB: ask for more")
    found = failure(raised.value)
    assert (found.status, found.traceback) == ("interrupted", "")
    assert found.reason == "UsageError: memory limit of 1 MiB: ask for more"
    assert failure(UsageError("of the learner")).status == "error"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    ],
)
def test_a_machine_without_processes_is_no_failure_of_the_learner(error: Exception) -> None:
    assert failure(error).status == "interrupted"
    assert failure(RuntimeError("of the learner")).status == "error"


class Lazy(Learner):
    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(4))

    def adapt(self, support: Support) -> torch.Tensor:
        return class_means(Support(self.net(support.x), support.y), self.task.way)

    def predict(self, state: torch.Tensor, query_x: torch.Tensor) -> torch.Tensor:
        return -squared_distances(self.net(query_x), state)


def test_parameters_of_lazy_layers_count_before_the_first_task() -> None:
    session = Session(Lazy(task(way=3)))
    assert session.parameter_count() == 64 * 4 + 4
    lazy: Any = session.learner
    assert isinstance(lazy.net[1], torch.nn.LazyLinear)  # the learner itself answered nothing
