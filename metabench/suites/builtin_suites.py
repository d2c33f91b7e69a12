"""The built-in suites, as the files of their datasets declare them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metabench.data.builtin_datasets import DATASETS
from metabench.data.declared import ProtocolName, read_spec
from metabench.suites.protocol import BySplit, Chunks, EpisodeProtocol, WithinGroup
from metabench.suites.suite import Suite

_PROTOCOLS: Mapping[ProtocolName, EpisodeProtocol] = {
    "by-split": BySplit(),
    "within-group": WithinGroup(),
    "chunks": Chunks(),
}


def _declared(dataset: str) -> Iterator[Suite]:
    for name, spec in read_spec(dataset)["suites"].items():
        fields: dict[str, Any] = {**spec}
        loaded = f"metabench.data.{dataset}:{fields.pop('load', 'load')}"
        protocol = _PROTOCOLS[fields.pop("protocol", "by-split")]
        yield Suite(name, loaded, protocol=protocol, **fields)


SUITES = tuple(suite for dataset in DATASETS for suite in _declared(dataset))

# What `metabench run` runs by default: small suites that need no download.
EMBEDDED = ("digits-5w1s", "glyphs-5w1s", "glyphs-5w5s", "sinusoid-5s")
