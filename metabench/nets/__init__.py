"""Backbones, and the functions on their features that learners share."""
