from __future__ import annotations

import pytest
import torch

from metabench.worker.batch_halving import BatchHalving


def fits(most: int, asked: list[int]):
    """Work for which only so many tasks fit."""

    def work(tasks: int) -> int:
        asked.append(tasks)
        if tasks > most:
            raise torch.OutOfMemoryError("out of memory")
        return tasks

    return work


def test_what_fits_is_run_as_it_is() -> None:
    room, asked = BatchHalving("cpu"), []
    assert room.run(fits(8, asked), 8) == 8
    assert (asked, room.halved) == ([8], False)


def test_what_does_not_fit_is_halved_once_and_from_then_on() -> None:
    room, asked = BatchHalving("cpu"), []
    assert room.run(fits(6, asked), 12) == 6
    assert room.run(fits(6, asked), 12) == 6
    assert room.run(fits(6, asked), 1) == 1
    assert (asked, room.halved) == ([12, 6, 6, 1], True)


def test_what_does_not_fit_then_either_is_an_error() -> None:
    room, asked = BatchHalving("cpu"), []
    with pytest.raises(torch.OutOfMemoryError):
        room.run(fits(2, asked), 12)
    assert asked == [12, 6]


def test_one_task_cannot_be_halved() -> None:
    room, asked = BatchHalving("cpu"), []
    with pytest.raises(torch.OutOfMemoryError):
        room.run(fits(0, asked), 1)
    assert (asked, room.halved) == ([1], False)


def test_other_errors_are_not_tried_again() -> None:
    room = BatchHalving("cpu")
    with pytest.raises(ZeroDivisionError):
        room.run(lambda tasks: tasks // 0, 8)
    assert not room.halved
