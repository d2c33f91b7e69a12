"""Datasets: one file each."""
