"""Make the data that ships with metabench. Not part of the package."""
