"""The process that decides which cells run, where, and how safely."""
