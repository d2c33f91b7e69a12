"""Speed benchmarks, run by hand; CI tests only the arithmetic, and the findings of `simulate`.

`python -m benchmarks.peers` fetches the peers, the libraries that metabench is compared with.
`python -m benchmarks.all` measures everything. Each row also has a script: maml, adaptation,
protonet, sampling, memory, startup. The scripts take `--rounds`, `--repeats`, `--threads`,
`--device`, `--peers` and `--json`; those that measure the processor refuse another device.

Contenders do the same work from the same weights, which is checked in float64 first. They take
turns in fresh processes, so that a disturbance of the machine slows all of them.

In addition, `bookkeeping` times the handling of finished cells, and `simulate` counts how often
the intervals and tests err.
"""
