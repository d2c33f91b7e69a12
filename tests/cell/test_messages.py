from __future__ import annotations

from multiprocessing import Pipe

import msgspec
import numpy as np
import pytest

from metabench.cell.messages import Array, Batch, Channel, Failed, Outputs, Progress, Stop


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_arrays_arrive_as_they_were(dtype: type) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::-1]
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(Array.of(array)), type=Array).numpy()
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)
    again += 1  # torch needs arrays that can be written to


def test_both_directions_keep_their_types() -> None:
    ours, theirs = (Channel(end) for end in Pipe())
    one = Array.of(np.zeros((1, 2)))
    ours.send(Batch(support_x=one, support_y=one, query_x=one))
    ours.send(Stop())
    assert isinstance(theirs.next_command(), Batch)
    assert isinstance(theirs.next_command(), Stop)
    reports = [
        Progress(fraction=0.5, values={"loss": None}),
        Outputs(logits=one, halved=True),
        Failed(status="error", reason="no", traceback=""),
    ]
    for report in reports:
        theirs.send(report)
        assert ours.next_report() == report


def test_what_is_no_message_is_refused() -> None:
    ours, theirs = Pipe()
    theirs.send_bytes(b"\x81\xa4type\xa4Evil")
    with pytest.raises(msgspec.ValidationError):
        Channel(ours).next_report()


def test_a_closed_pipe_is_noticed() -> None:
    ours, theirs = Pipe()
    theirs.close()
    with pytest.raises(EOFError):
        Channel(ours).next_report()
