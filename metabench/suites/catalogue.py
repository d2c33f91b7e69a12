"""The built-in suites, one entry each."""

from __future__ import annotations

from metabench.suites.protocol import Chunks
from metabench.suites.suite import Suite

_DIGITS = "metabench.data.digits:load"
_GLYPHS = "metabench.data.glyphs:load"
_SINUSOID = "metabench.data.sinusoid:load"
_SINUSOID_FREQ = "metabench.data.sinusoid_freq:load"


def _regression(name: str, dataset: str, shot: int) -> Suite:
    return Suite(name, dataset, way=1, shot=shot, query=100, metric="mse")


SUITES = (
    Suite("digits-5w1s", _DIGITS, way=5, shot=1),
    Suite("digits-5w5s", _DIGITS, way=5, shot=5),
    Suite("digits-chunks", _DIGITS, way=10, shot=5, query=5, episodes=600, protocol=Chunks()),
    Suite("glyphs-5w1s", _GLYPHS, way=5, shot=1),
    Suite("glyphs-5w5s", _GLYPHS, way=5, shot=5),
    Suite("glyphs-20w1s", _GLYPHS, way=20, shot=1),
    Suite("glyphs-20w5s", _GLYPHS, way=20, shot=5),
    _regression("sinusoid-5s", _SINUSOID, shot=5),
    _regression("sinusoid-10s", _SINUSOID, shot=10),
    _regression("sinusoid-freq-5s", _SINUSOID_FREQ, shot=5),
    _regression("sinusoid-freq-10s", _SINUSOID_FREQ, shot=10),
    _regression("sinusoid-freq-20s", _SINUSOID_FREQ, shot=20),
)

# What `metabench run` runs when it is told nothing else: small and without a network.
EMBEDDED = ("digits-5w1s", "glyphs-5w1s", "glyphs-5w5s", "sinusoid-5s")
