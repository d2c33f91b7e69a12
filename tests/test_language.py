"""The wording of the project: docstrings that name the thing, and phrases that are not used.

`codespell` checks single words; `tools/banned_words.txt` lists those that are not used.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("metabench", "plugins", "tools", "benchmarks")
PROSE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", "docs", *PACKAGES)
OPENINGS = ("What ", "Whether ", "How ")
PHRASES = re.compile(
    r"\b(gone on with|hang(s|ing)? on|held against|in company|put up with)\b", re.IGNORECASE
)


def test_every_module_has_a_docstring() -> None:
    lacking = [file for file, tree in _modules(*PACKAGES) if not ast.get_docstring(tree)]
    assert not lacking


def test_docstrings_open_with_a_noun_or_a_verb() -> None:
    openings = [
        f"{file}:{node.lineno if hasattr(node, 'lineno') else 1}: {text.splitlines()[0]}"
        for file, tree in _modules(*PACKAGES, "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (text := ast.get_docstring(node) or "").startswith(OPENINGS)
    ]
    assert not openings


def test_phrases_that_are_not_used() -> None:
    found = [
        f"{file}: {match[0]}"
        for file in _files(PROSE, (".md", ".py"))
        for match in PHRASES.finditer(" ".join((ROOT / file).read_text(encoding="utf-8").split()))
    ]
    assert not found


def _modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for file in _files(folders, (".py",)):
        yield file, ast.parse((ROOT / file).read_text(encoding="utf-8"))


def _files(names: tuple[str, ...], suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files with these names, or in these folders, relative to the checkout."""
    paths = [ROOT / name for name in names]
    found = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file.relative_to(ROOT) for file in found if file.suffix in suffixes)
