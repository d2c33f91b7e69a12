"""The built-in plugins, loaded once for a file of tests."""

from __future__ import annotations

import pytest

from metabench.plugins.registry import Plugins, load_plugins
from metabench.plugins.sources import PluginSources


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(PluginSources(restrict=("builtin",)))
