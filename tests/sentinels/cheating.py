"""Learners that look for what they are not to know, or meddle with what is not theirs."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import numpy as np
import torch

import metabench


class Fair(metabench.Learner):
    """Nearest class mean."""

    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, state, query_x):
        return -metabench.squared_distances(query_x.flatten(1), state)


class Oracle(Fair):
    """Looks for the labels of its queries in memory, in its callers and in files."""

    def adapt(self, support):
        return super().adapt(support), support.y

    def predict(self, state, query_x):
        means, support_y = state
        logits = super().predict(means, query_x)
        for labels in (*self._in_memory(), *self._in_callers(), *self._in_files()):
            if self._fits(labels, len(query_x)) and not self._equal(labels, support_y):
                return torch.nn.functional.one_hot(torch.as_tensor(labels).long(), 5).float()
        return logits

    def _in_memory(self):
        yield from (x for x in gc.get_objects() if type(x) in (torch.Tensor, np.ndarray, list))

    def _in_callers(self):
        frame = sys._getframe()
        while frame is not None:
            yield from list(frame.f_locals.values())
            frame = frame.f_back

    def _in_files(self):
        near = [Path.cwd(), *(Path(argument).parent for argument in sys.argv[:1])]
        for file in (file for folder in near for file in folder.rglob("*.np[yz]")):
            found = np.load(file)
            yield from found.values() if hasattr(found, "values") else [found]

    def _fits(self, labels, count):
        try:
            values = np.asarray(labels)
        except Exception:
            return False
        whole = values.ndim == 1 and values.dtype.kind in "iu" and len(values) == count
        return bool(whole and set(values.tolist()) == set(range(5)))

    def _equal(self, labels, support_y):
        return len(labels) == len(support_y)


class Constant(Fair):
    def predict(self, state, query_x):
        return torch.zeros(len(query_x), 5)


class ByPlace(Fair):
    """Takes test queries to come class by class, as in code that does not shuffle them."""

    def predict(self, state, query_x):
        return torch.eye(5).repeat_interleave(-(-len(query_x) // 5), dim=0)[: len(query_x)]


class ByRow(Fair):
    """Takes the row of a support example for its label."""

    def adapt(self, support):
        return support.x.flatten(1)


class Sleeper(Fair):
    def adapt(self, support):
        time.sleep(0.02)
        return super().adapt(support)


class WritesResults(Fair):
    """Leaves files in every results folder it finds."""

    def adapt(self, support):
        for folder in Path.cwd().rglob("digits-5w1s"):
            home = folder / "writes-results"
            home.mkdir(exist_ok=True)
            (home / "default-s7-smoke-cpu.json").write_text('{"status": "ok", "score": 1.0}')
        return super().adapt(support)


@metabench.hookimpl
def metabench_algorithms():
    for kind in (Fair, *Fair.__subclasses__()):
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__)
        yield metabench.Algorithm(words.strip("-"), build=kind, deterministic=True)
