"""A plugin whose algorithms fail in every way that costs a cell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import torch

import metabench


class Honest(metabench.Learner):
    """Nearest class mean; the others differ from it in one method."""

    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, state, query_x):
        return -metabench.squared_distances(query_x.flatten(1), state)


class RaisesInInit(Honest):
    def __init__(self, task):
        raise RuntimeError("cannot be built\nsecond line")


class RaisesInFit(Honest):
    def fit(self, base):
        raise RuntimeError("cannot be fitted")


class RaisesInMetaStep(Honest):
    def meta_step(self, episodes):
        raise RuntimeError("cannot make a step")


class RaisesInAdapt(Honest):
    def adapt(self, support):
        raise ZeroDivisionError("cannot adapt")


class RaisesInPredict(Honest):
    def predict(self, state, query_x):
        raise EOFError("cannot predict")


class WrongShape(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x).T


class NeedsTwoQueries(Honest):
    def predict(self, state, query_x):
        if len(query_x) == 1:
            raise RuntimeError("a single query")
        return super().predict(state, query_x)


class FailsOnOneQuery(Honest):
    def predict(self, state, query_x):
        if len(query_x) == 1:
            self.fail()
        return super().predict(state, query_x)


class KilledOnOneQuery(FailsOnOneQuery):
    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)


class EndedOnOneQuery(FailsOnOneQuery):
    def fail(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


class OutOfMemoryOnOneQuery(FailsOnOneQuery):
    def fail(self):
        raise torch.OutOfMemoryError("out of memory")


class SegfaultsOnOneQuery(FailsOnOneQuery):
    def fail(self):
        os.kill(os.getpid(), signal.SIGSEGV)


class ExitsOnOneQuery(FailsOnOneQuery):
    def fail(self):
        os._exit(0)


class HangsOnOneQuery(FailsOnOneQuery):
    def fail(self):
        time.sleep(600)


class NotANumber(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x) * float("nan")


class Exits(Honest):
    def adapt(self, support):
        sys.exit(0)


class ExitsHard(Honest):
    def adapt(self, support):
        os._exit(0)


class Segfaults(Honest):
    def adapt(self, support):
        os.kill(os.getpid(), signal.SIGSEGV)


class OutOfMemory(Honest):
    def adapt(self, support):
        raise torch.OutOfMemoryError("out of memory")


class Hangs(Honest):
    def adapt(self, support):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.1)


class LeavesChild(Honest):
    def adapt(self, support):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, flush=True)
        raise RuntimeError("left a child behind")


class LeavesForkedChild(Honest):
    """The child inherits everything that the learner process holds open."""

    def adapt(self, support):
        if os.fork() == 0:
            time.sleep(600)
        os.abort()


class LeavesDetachedChild(Honest):
    """The child leaves the process group and the session of the learner."""

    def adapt(self, support):
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(command, start_new_session=True)
        print("child", child.pid, flush=True)
        raise RuntimeError("left a child behind")


class LeavesCleanChild(Honest):
    """The child leaves the session and inherits no environment."""

    def adapt(self, support):
        child = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
        print("child", child.pid, flush=True)
        raise RuntimeError("left a child behind")


class StopsItself(Honest):
    """Neither works nor ends, and none of its threads runs."""

    def adapt(self, support):
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        print("child", child.pid, os.getpid(), flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)


class SaysWhatCannotBeSaid(Honest):
    def adapt(self, support):
        raise RuntimeError("a lone \udcff " + "and so on " * 1000)


class HasNoWords(Honest):
    def adapt(self, support):
        class Mute(Exception):
            def __str__(self):
                raise ValueError("no words")

        raise Mute


class CannotBeSaved(Honest):
    def meta_step(self, episodes):
        return 0.0

    def state_dict(self):
        raise RuntimeError("cannot be saved")

    def load_state_dict(self, state): ...


class PrintsWithoutEnd(Honest):
    """300 MB to stdout and to stderr before it does its work."""

    printed = False

    def adapt(self, support):
        for stream in () if self.printed else (1, 2):
            for _ in range(300):
                os.write(stream, b"x" * 2**20)
        self.printed = True
        return super().adapt(support)


class Hoards(Honest):
    def adapt(self, support):
        self.hoard = []
        while True:
            self.hoard.append(torch.ones(2**24))


class HoardsNatively(Honest):
    """Fail like C++ code that gets no memory."""

    def adapt(self, support):
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()


class NeedsRoomForManyTasks(metabench.BatchedLearner):
    def adapt(self, support):
        if len(support.x) > 8:
            raise torch.OutOfMemoryError("out of memory")
        return metabench.class_means(metabench.Support(support.x.flatten(2), support.y))

    def predict(self, state, query_x):
        return -metabench.squared_distances(query_x.flatten(2), state)


class ImportsLate(Honest):
    """Something new at every call."""

    def adapt(self, support):
        sys.modules[f"late{len(sys.modules)}"] = sys
        return super().adapt(support)


class DrawsFromTheGlobalGenerator(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x) + 20 * torch.rand(len(query_x), 5)


class ClosesPipes(Honest):
    def adapt(self, support):
        os.closerange(3, 100)
        return super().adapt(support)


class PicksAtTheClock(Honest):
    """Patches the clock that it believes it is measured with."""

    def __init__(self, task):
        super().__init__(task)
        time.perf_counter = lambda: 0.0


@metabench.hookimpl
def metabench_algorithms():
    for kind in (
        *(Honest, *Honest.__subclasses__(), NeedsRoomForManyTasks),
        *FailsOnOneQuery.__subclasses__(),
    ):
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__)
        yield metabench.Algorithm(words.strip("-"), build=kind, budgets={"smoke": 2})
