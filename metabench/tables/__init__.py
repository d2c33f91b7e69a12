"""Leaderboard rows, flags, tables and output formats."""
