"""From stored results back to their cells."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from results_factory import make_result

import metabench
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.supervisor.cell_from_result import cell_of, with_seed_of


@pytest.mark.slow
def test_every_seed_is_computed_in_the_parts_that_its_own_result_names(tmp_path: Path) -> None:
    results = metabench.run(
        "digits-5w1s", "maml[tasks_per_step=4]", seeds=2, budget="smoke", results=tmp_path
    )
    first, second = (
        replace(result, training=replace(result.training, tasks_at_once=parts))
        for result, parts in zip(results, (1, 2), strict=True)
        if result.training is not None
    )
    cell = cell_of(first, load_plugins(), None)
    assert (cell.seed, cell.tasks_at_once) == (0, 1)
    cell = with_seed_of(cell, second)
    assert (cell.seed, cell.tasks_at_once) == (1, 2)


def test_algorithms_that_are_not_trained_by_updates_have_no_parts() -> None:
    result = make_result("chance", fit_s=None)
    result = replace(result, job=replace(result.job, params={}))
    assert cell_of(result, load_plugins(), None).tasks_at_once == 0


PLUGIN = """
import metabench

class Words(metabench.Learner):
    def __init__(self, task, words):
        super().__init__(task)

    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -metabench.squared_distances(query_x.flatten(1), centroids)

@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("words", build=Words, params={"words": "a, b|c]"})
"""


@pytest.mark.slow
def test_parameters_stay_as_they_were_where_a_default_has_changed(tmp_path: Path) -> None:
    """Also those that nobody could write in an address."""
    plugin = tmp_path / "words.py"
    plugin.write_text(PLUGIN)
    sources = PluginSources(plugins=(str(plugin),))
    (result,) = metabench.run(
        "digits-5w1s", "words", plugins=[str(plugin)], results=tmp_path / "results"
    )
    assert result.status == "ok"
    plugin.write_text(PLUGIN.replace("a, b|c]", "changed"))
    pinned = cell_of(result, load_plugins(sources), None)
    assert pinned.configured.params == {"words": "a, b|c]"}
    assert cell_of(result, load_plugins(sources), None, pinned=False).configured.params == {
        "words": "changed"
    }
