"""The built-in suites, one entry each."""

from __future__ import annotations

from metabench.suites.protocol import Chunks
from metabench.suites.suite import Suite

_DIGITS = "metabench.data.digits:load"
_GLYPHS = "metabench.data.glyphs:load"

SUITES = (
    Suite("digits-5w1s", _DIGITS, way=5, shot=1),
    Suite("digits-5w5s", _DIGITS, way=5, shot=5),
    Suite("digits-chunks", _DIGITS, way=10, shot=5, query=5, episodes=600, protocol=Chunks()),
    Suite("glyphs-5w1s", _GLYPHS, way=5, shot=1),
    Suite("glyphs-5w5s", _GLYPHS, way=5, shot=5),
    Suite("glyphs-20w1s", _GLYPHS, way=20, shot=1),
    Suite("glyphs-20w5s", _GLYPHS, way=20, shot=5),
)

# What `metabench run` runs when it is told nothing else: small and without a network.
EMBEDDED = ("digits-5w1s", "glyphs-5w1s", "glyphs-5w5s")
