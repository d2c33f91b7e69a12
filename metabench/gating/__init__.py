"""Regression tests of accuracy and speed, replays, and duels."""
