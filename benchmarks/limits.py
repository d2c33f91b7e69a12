"""The peak rates of this machine, as JSON: `python -m benchmarks.limits [THREADS [DEVICE]]`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional as F

from benchmarks.contender import ROOT, surroundings, timed
from benchmarks.options import Options, Refused

CHANNELS, SIDE = 64, 14  # of the second block, which has most of the arithmetic
BATCHES = (16, 32, 75)  # small enough for a CPU's caches
LARGE_BATCHES = (512, 2048)  # for an accelerator
COPIED = 2**28  # bytes: larger than any cache
SECONDS = 0.5  # of each measurement


@dataclass(frozen=True)
class Limits:
    """The best rates found.

    Attributes:
        convolution: float operations per second of 64 -> 64 channels, 3x3, channels innermost.
        copy: bytes per second, read and written, of a large array.
    """

    convolution: float
    copy: float


_found: list[Limits] = []


def probe(options: Options) -> Limits:
    """Probe the machine in a fresh process and return the best rates so far.

    The machine may be busy during a probe, so benchmarks probe it again for every case.

    Raises:
        Refused: the probe failed.
    """
    command = [sys.executable, "-m", "benchmarks.limits", str(options.threads), options.device]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=surroundings(allocator=True)
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Refused(f"the probe of the machine failed: {said[-1]}")
    _found.append(Limits(**json.loads(done.stdout)))
    return best(options)


def best(options: Options) -> Limits:
    """Return the best rates of all probes in this run; probe if there was none."""
    if not _found:
        return probe(options)
    return Limits(max(f.convolution for f in _found), max(f.copy for f in _found))


@torch.no_grad()
def convolution_rate(device: str) -> float:
    """Measure the best rate of torch's convolution over a few batch sizes."""
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device)
    weight = weight.to(memory_format=torch.channels_last)
    rates = []
    for batch in BATCHES if device == "cpu" else LARGE_BATCHES:
        x = torch.randn(batch, CHANNELS, SIDE, SIDE, device=device)
        x = x.to(memory_format=torch.channels_last)
        operations = 2 * 9 * CHANNELS**2 * SIDE**2 * batch
        rates.append(operations / _best(lambda x=x: F.conv2d(x, weight, padding=1), device))
    return max(rates)


def copy_rate(device: str) -> float:
    """Measure the bytes that a copy reads and writes per second."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], object], device: str) -> float:
    """Return the seconds of the fastest call within `SECONDS`."""
    job = timed(work, device)
    job()
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        fastest = min(fastest, job())
    return fastest


def main() -> None:
    """Print the rates as JSON."""
    if sys.argv[1:]:
        torch.set_num_threads(int(sys.argv[1]))
    device = sys.argv[2] if sys.argv[2:] else "cpu"
    print(json.dumps(asdict(Limits(convolution_rate(device), copy_rate(device)))))


if __name__ == "__main__":
    main()
