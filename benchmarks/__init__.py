"""Speed, measured by hand; in CI only the arithmetic is tested, and what `simulate` finds.

`python -m benchmarks.peers` fetches what metabench is measured against, `python -m
benchmarks.all` measures everything. Each row has a script of its own: maml, adaptation,
protonet, sampling, memory, startup. These take `--rounds`, `--repeats`, `--threads`,
`--device`, `--peers` and `--json`; those that measure the processor refuse another device.

Contenders do the same work from the same weights, which is checked in float64 first, and take
turns in fresh processes, so that what slows the machine for a while slows all of them.

Beside these `bookkeeping` times what finished cells cost, and `simulate` counts how often the
intervals and tests err.
"""
