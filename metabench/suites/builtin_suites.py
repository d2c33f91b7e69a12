"""The built-in suites, one entry each."""

from __future__ import annotations

from collections.abc import Iterator

from metabench.suites.protocol import BySplit, Chunks, EpisodeProtocol, WithinGroup
from metabench.suites.suite import Suite

_DIGITS = "metabench.data.digits:load"
_GLYPHS = "metabench.data.glyphs:load"
_MNIST = "metabench.data.mnist:load"
_SINUSOID = "metabench.data.sinusoid:load"
_SINUSOID_FREQ = "metabench.data.sinusoid_freq:load"
_OMNIGLOT = "metabench.data.omniglot:load"
# name -> dataset and protocol: the usual split first, then its named variants
_OMNIGLOTS: dict[str, tuple[str, EpisodeProtocol]] = {
    "omniglot": (_OMNIGLOT, BySplit()),
    "omniglot-alphabet": (_OMNIGLOT, WithinGroup()),
    "omniglot-1200": (f"{_OMNIGLOT}_1200", BySplit()),
    "omniglot-background": (f"{_OMNIGLOT}_background", BySplit()),
}
_SIZES = ((5, 1), (5, 5), (20, 1), (20, 5))


def _regression(name: str, dataset: str, shot: int) -> Suite:
    return Suite(name, dataset, way=1, shot=shot, query=100, metric="mse")


def _omniglot() -> Iterator[Suite]:
    for name, (dataset, protocol) in _OMNIGLOTS.items():
        for way, shot in _SIZES:
            yield Suite(f"{name}-{way}w{shot}s", dataset, way, shot, protocol=protocol)


SUITES = (
    Suite("digits-5w1s", _DIGITS, way=5, shot=1),
    Suite("digits-5w5s", _DIGITS, way=5, shot=5),
    Suite("digits-chunks", _DIGITS, way=10, shot=5, query=5, episodes=600, protocol=Chunks()),
    Suite("glyphs-5w1s", _GLYPHS, way=5, shot=1),
    Suite("glyphs-5w5s", _GLYPHS, way=5, shot=5),
    Suite("glyphs-20w1s", _GLYPHS, way=20, shot=1),
    Suite("glyphs-20w5s", _GLYPHS, way=20, shot=5),
    *_omniglot(),
    Suite("mnist-5w1s", _MNIST, way=5, shot=1),
    Suite("mnist-5w5s", _MNIST, way=5, shot=5),
    Suite("mnist-chunks", _MNIST, way=10, shot=5, episodes=600, protocol=Chunks()),
    _regression("sinusoid-5s", _SINUSOID, shot=5),
    _regression("sinusoid-10s", _SINUSOID, shot=10),
    _regression("sinusoid-freq-5s", _SINUSOID_FREQ, shot=5),
    _regression("sinusoid-freq-10s", _SINUSOID_FREQ, shot=10),
    _regression("sinusoid-freq-20s", _SINUSOID_FREQ, shot=20),
)

# What `metabench run` runs when it is told nothing else: small and without a network.
EMBEDDED = ("digits-5w1s", "glyphs-5w1s", "glyphs-5w5s", "sinusoid-5s")
