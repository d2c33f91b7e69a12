"""The command-line options that benchmarks share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from metabench.supervisor.environment import cores

PEERS = Path("build/peers")


class Refused(Exception):
    """The reason, in one line, why nothing is measured."""


@dataclass(frozen=True)
class Options:
    """The options of a benchmark.

    Attributes:
        rounds: how often each contender is started.
        repeats: timed repetitions in each process, after one that warms up.
        threads: threads of each contender.
        device: the device of the networks.
        peers: folder that `python -m benchmarks.peers` fetched the peers into.
        json: file to write everything to, or None.
        own: options of this benchmark only, as keyword arguments of its rows.
    """

    rounds: int = 5
    repeats: int = 3
    threads: int = 2
    device: str = "cpu"
    peers: Path = PEERS
    json: Path | None = None
    own: dict[str, Any] = field(default_factory=dict)

    def processor_only(self, what: str) -> None:
        """Raise `Refused` if another device was requested."""
        if self.device != "cpu":
            raise Refused(f"{what}: only on the processor; leave --device {self.device} out")

    def say(self, line: str) -> None:
        """Print a line of progress to stderr."""
        print(line, file=sys.stderr, flush=True)


def parse(
    description: str | None,
    add: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    words: list[str] | None = None,
) -> Options:
    """Read the command line.

    Args:
        description: the description of the script, for `--help`.
        add: adds the options of this script only.
        words: the command line; None means the process's own.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each contender")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions in each process")
    parser.add_argument("--threads", type=int, default=cores(), help="of every contender")
    parser.add_argument("--device", default="cpu", help="of networks, e.g. cuda")
    parser.add_argument("--peers", type=Path, default=PEERS, help="folder of the peers")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    add(parser)
    found = vars(parser.parse_args(words))
    common = {f.name: found.pop(f.name) for f in fields(Options) if f.name in found}
    return Options(**common, own=found)
