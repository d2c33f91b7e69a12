"""Statistics on NumPy arrays: intervals, paired tests and non-inferiority."""
