"""A fixture of tests that read the code of a plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_code import FILES, write


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the package of a plugin, which cannot be imported."""
    folder = tmp_path / "site"
    write(folder, FILES)
    monkeypatch.syspath_prepend(folder)
    return folder
