"""Scripts for maintainers. Not part of the package."""
