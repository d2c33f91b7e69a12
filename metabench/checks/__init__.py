"""The checks of `metabench check`; importing this package imports no torch."""
