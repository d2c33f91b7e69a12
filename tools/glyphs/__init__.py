"""Make the glyph images that ship with metabench, from the fonts of a package."""
