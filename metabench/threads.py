"""The start of a thread or process, which fails when the machine has no more of them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

# In Python's exceptions, and in what native code prints or raises.
NONE_LEFT = ("can't start new thread", "Resource temporarily unavailable")


@contextmanager
def thread_starts() -> Iterator[None]:
    """Raise an `OSError` if the block cannot start a thread, as happens with processes.

    Raises:
        BlockingIOError: the machine, or a limit of the user, allows no more threads.
    """
    try:
        yield
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, f"{error}: too many are running") from error
