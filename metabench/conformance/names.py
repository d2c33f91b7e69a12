"""The names of the checks, in their order; tests are collected by them without torch."""

NAMES = (
    *("catalogue", "build", "shapes", "inputs", "globals", "deterministic", "repeatable"),
    *("query-order", "one-query", "one-task", "label-order", "learns", "support-matters"),
    *("learnables", "gradient", "round-trip", "memory", "devices", "relabelling"),
)
