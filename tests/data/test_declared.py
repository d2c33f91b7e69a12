"""Declarations of datasets are true, and are read without importing their files."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.data import declared
from metabench.data.builtin_datasets import DATASETS
from metabench.data.dataset import SPLITS


@pytest.mark.parametrize("name", ["digits", "glyphs", "sinusoid", "sinusoid_freq"])
def test_shape_and_classes_are_those_of_the_dataset(name: str, tmp_path: Path) -> None:
    spec = declared.read_spec(name)
    dataset = importlib.import_module(f"metabench.data.{name}").load(tmp_path)
    assert dataset.shape == spec["shape"]
    assert tuple(len(dataset.split(split)) for split in SPLITS) == spec["classes"]


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_read_is_what_the_module_holds(name: str) -> None:
    assert declared.read_spec(name) == importlib.import_module(f"metabench.data.{name}").SPEC


def test_every_file_with_a_declaration_is_in_the_catalogue() -> None:
    folder = Path(declared.__file__).parent
    found = {file.stem for file in folder.glob("*.py") if "\nSPEC: " in file.read_text()}
    assert found == set(DATASETS)


def test_a_file_without_a_declaration_is_named() -> None:
    with pytest.raises(LookupError, match=r"lake\.py declares no SPEC"):
        declared.read_spec("lake")


def test_the_catalogue_is_read_without_numpy() -> None:
    code = "import sys, metabench.suites.builtin_suites; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
