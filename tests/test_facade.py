from __future__ import annotations

import subprocess
import sys

import pytest

import metabench


def test_importing_metabench_imports_nothing_heavy() -> None:
    code = (
        "import sys, metabench; "
        "heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'scipy', 'click', 'rich', 'pluggy'}; "
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", metabench.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(metabench, name).__doc__ or name == "hookimpl"
    assert name in dir(metabench)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'MAML2'"):
        metabench.MAML2  # noqa: B018
