"""Built-in suites and backbones come through hooks, but are no plugin that users see or block."""

from __future__ import annotations

from metabench.nets.backbones import BACKBONES
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.suites.builtin_suites import SUITES


def test_they_are_there_without_any_plugin() -> None:
    plugins = load_plugins(PluginSources(restrict=()))
    assert [found.spec for found in plugins.suites.values()] == list(SUITES)
    assert [found.spec for found in plugins.backbones.values()] == list(BACKBONES)
    found = [*plugins.suites.values(), *plugins.backbones.values()]
    assert {(each.provider, each.origin) for each in found} == {("metabench", None)}
    assert "metabench" not in [row.name for row in plugins.rows]
    assert plugins.warnings == []


def test_they_cannot_be_blocked() -> None:
    plugins = load_plugins(PluginSources(plugins=("no:metabench",), restrict=()))
    assert len(plugins.suites) == len(SUITES)
    (warning,) = plugins.warnings
    assert warning.startswith("-p no:metabench: unknown plugin 'metabench'")


def test_a_plugin_cannot_take_their_name() -> None:
    plugins = load_plugins(PluginSources(plugins=("metabench",), restrict=()))
    (row,) = [row for row in plugins.rows if row.name == "metabench"]
    assert (row.status, row.error) == ("failed", "another plugin has the same name")
    assert len(plugins.suites) == len(SUITES)
