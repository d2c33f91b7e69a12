"""Leaderboard rows, flags and tables, and the formats that they are written in."""
