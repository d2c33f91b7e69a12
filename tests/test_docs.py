"""The examples of the README and the docs work as written.

Each document is run in a folder of its own. Python blocks that define a plugin are saved under
the name that the text gives them, other Python blocks are executed, and each line of a shell
block is run. CI runs the `make` lines, so they are only looked up in the Makefile.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from metabench.cli import VERBS, cli, main

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(document.read_text()) if kind == language]


def commands(document: Path) -> list[str]:
    lines = "".join(blocks(document, "sh")).splitlines()
    recipe = re.findall(r"^- run: (.*)$", "".join(blocks(document, "yaml")), re.MULTILINE)
    lines += [line for line in recipe if not line.startswith("pip ")]
    return [line.partition(" #")[0].strip() for line in lines if line.strip()]


def new_commands(document: Path) -> list[str]:
    """The commands of a document, each once, that no earlier document has."""
    earlier = DOCUMENTS[: DOCUMENTS.index(document)]
    shown = {command for other in earlier for command in commands(other)}
    return [command for command in dict.fromkeys(commands(document)) if command not in shown]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: images by class, and the README's plugin."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for c in range(30):
        (tmp_path / "my_images" / f"class-{c}").mkdir(parents=True)
        for i in range(16):
            image = rng.integers(0, 255, (20, 20), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "my_images" / f"class-{c}" / f"{i}.png")
    first, *others = blocks(ROOT / "README.md", "python")
    (tmp_path / "nearest_centroid.py").write_text(first)
    (test,) = (code for code in others if "accuracy_gate" in code)
    (tmp_path / "test_nearest_centroid.py").write_text(test)
    return tmp_path


def test_the_first_example_is_ten_lines() -> None:
    lines = blocks(ROOT / "README.md", "python")[0].strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_that_are_named_exist(document: Path) -> None:
    known = {
        option
        for verb in VERBS
        for parameter in cli.get_command(click.Context(cli), verb).params
        for option in parameter.opts
    }
    for option in re.findall(r"`(--?[a-z][a-z-]*)", document.read_text()):
        assert option in known, f"{document.name} names {option}"


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_run(document: Path, folder: Path) -> None:
    # CI runs `make leaderboard`, with every suite and built-in algorithm, by itself.
    (folder / "bench.toml").write_text(
        'suites = ["digits-5w1s"]\nalgorithms = ["nearest-centroid", "protonet", "pca-lr"]\n'
    )
    for command in new_commands(document):
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            continue
        if words[0] == "pytest":
            again = [sys.executable, "-m", *words, "-p", "no:cacheprovider"]
            subprocess.run(again, check=True, cwd=folder)
            continue
        assert words[0] == "metabench", f"do not know how to run: {command}"
        results = (
            []
            if "--results" in words or words[1] not in ("status", "leaderboard", "compare")
            else ["--results", "results-smoke"]
        )
        assert main([*words[1:], *results]) == 0, command


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_runs(document: Path, folder: Path) -> None:
    for number, code in enumerate(blocks(document, "python")):
        file = folder / f"example_{number}.py"
        file.write_text(code)
        subprocess.run([sys.executable, str(file)], check=True, env={**os.environ})


def test_the_bench_toml_that_is_shown_can_be_read(folder: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "running.md", "toml")
    (folder / "bench.toml").write_text(text)
    assert main(["run", "--dry-run"]) == 0


@pytest.mark.slow
def test_the_suites_that_are_shown_are_suites(folder: Path) -> None:
    codes = blocks(ROOT / "docs" / "writing-a-plugin.md", "python")
    (code,) = [code for code in codes if "def metabench_suites" in code]
    (folder / "bars.py").write_text(code)
    assert main(["run", "-p", "bars.py", "-s", "bars-5w*", "-a", "pixel-1nn"]) == 0
    assert main(["check-data", "-p", "bars.py", "bars-5w1s"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear-prototypes", "reptile"])
def test_the_larger_plugins_learn(name: str, folder: Path) -> None:
    (code,) = [
        c for c in blocks(ROOT / "docs" / "writing-a-plugin.md", "python") if f'"{name}"' in c
    ]
    (folder / "larger.py").write_text(code)
    assert main(["run", "-p", "larger.py", "-a", name, "-a", "chance", "-s", "digits-5w1s"]) == 0
    import metabench

    board = metabench.leaderboard("results-smoke").set_index("algorithm")
    assert board.loc[name, "score"] > board.loc["chance", "score"] + 0.2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_verbs_that_are_named_exist(document: Path) -> None:
    named = set(re.findall(r"`metabench ([a-z][a-z-]+)", document.read_text()))
    assert named <= set(VERBS)
