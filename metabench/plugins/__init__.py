"""Plugins: where they are found, how they are imported, and the digest of their code."""
