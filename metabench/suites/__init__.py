"""Suites: which test episodes are drawn from a dataset."""
