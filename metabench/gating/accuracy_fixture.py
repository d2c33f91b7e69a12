"""The fixture `accuracy_gate`: make a baseline, or test an algorithm against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from metabench.address import parse
from metabench.errors import MetabenchError, NothingToRun, UsageError
from metabench.gating import gate_report, plugin_paths
from metabench.gating.accuracy_gate import Gate
from metabench.gating.baseline import Stored, select
from metabench.gating.gate_result import Gated
from metabench.plugins.registry import Plugins, load_plugins
from metabench.results.schema import Result, scored_blocks
from metabench.results.store import Store
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.tables.margins import Margins

_UPDATE = "make it with: pytest --update-baselines"


class AccuracyGate:
    """The accuracy gate of one test.

    Args:
        folder: the folder of baselines, with one result file for each seed.
        scratch: an empty folder for this test alone.
        test_folder: the folder of the test.
        update: make the baseline instead of testing against it.
    """

    def __init__(self, folder: Path, scratch: Path, test_folder: Path, update: bool) -> None:
        self._folder, self._scratch, self._update = folder, scratch, update
        self._test_folder = test_folder
        self._calls = 0

    def __call__(
        self,
        algorithm: str,
        suite: str,
        *,
        margin: str | float = "",
        seeds: int = 3,
        budget: str = "smoke",
        blocks: int = 3,
        plugins: plugin_paths.PluginPaths = (),
        train_on: str = "",
        device: str = "cpu",
        data_root: str | Path = "",
    ) -> Gated | None:
        """Fail the test unless the algorithm is as good as its baseline, within the margin.

        Args:
            algorithm: its address, such as "my-algo" or "my-algo[lr=0.1]".
            suite: the name of a suite.
            margin: the accepted loss: "0.5pp" of accuracy, or "5%" of the score. A pass with
                the default, 0.5pp, needs 300 episodes, unless outputs are equal.
            seeds: number of seeds in the baseline; at least three if it is meta-trained.
            budget: of meta-training; smoke scores 100 episodes per block, the others score all.
            blocks: number of blocks of episodes in the baseline; each allows one more look.
            plugins: modules or files that provide the algorithm, if it is not installed; a
                relative path is looked up in the test's folder, then in the working folder.
            train_on: meta-train on the base data of this suite instead of the suite's own.
            device: cpu, cuda, ...
            data_root: the folder of datasets.

        Returns:
            The verdict and its evidence; None if a baseline was made.
        """
        self._calls += 1
        request = Request(
            suites=[suite],
            algorithms=[algorithm],
            seeds=seeds,
            budget=budget,
            blocks=blocks,
            plugins=plugin_paths.find(plugins, self._test_folder),
            train_on=train_on,
            device=device,
            data_root=str(data_root),
            results=str(self._scratch / str(self._calls)),
        )
        try:
            loaded = load_plugins(request.sources)
            if self._update:
                self._make(request, loaded)
                return None
            found = self._test(request, str(margin), loaded)
        except MetabenchError as error:
            raise pytest.fail.Exception(f"accuracy_gate: {error}", pytrace=False) from None
        if found.verdict != "pass":
            pytest.fail("\n".join(gate_report.explain(found, self._folder)), pytrace=False)
        return found

    def _make(self, request: Request, plugins: Plugins) -> None:
        """Run the cells in the scratch folder, then write their files into the baseline."""
        with PreparedRun(request, plugins=plugins) as prepared:
            names = {(cell.suite.name, cell.configured.address) for cell in prepared.cells}
            if len(names) > 1:
                raise UsageError(
                    f"{request.algorithms[0]} on {request.suites[0]} names {len(names)} cases: "
                    "name one algorithm and one suite"
                )
            prepared.run(timed=False)
            made = [(cell.path, prepared.store.load(cell.path)) for cell in prepared.cells]
        for path, result in made:
            if result is None or result.status != "ok":
                failure = None if result is None else result.failure
                why = "it has no result" if failure is None else failure.reason
                raise NothingToRun(f"no baseline for {path}: {why}")
        store = Store(self._folder)
        for path, result in made:
            if result is not None and not _same(store, path, result):
                store.write(path, result)
        # The remaining seeds were made by older code; a baseline is made by one version.
        for path, _ in self._stored(request, plugins):
            if path not in dict(made):
                store.place(path).unlink(missing_ok=True)

    def _test(self, request: Request, margin: str, plugins: Plugins) -> Gated:
        stored = self._stored(request, plugins)
        _check_size(stored, request, plugins)
        margins = Margins.parse(margin or None, {})
        once = replace(request, blocks=1)
        found = Gate(self._folder, stored, margins, request=once, plugins=plugins).run()
        if len(found) > 1:
            raise UsageError(
                f"{request.algorithms[0]} on {request.suites[0]} names {len(found)} baselines"
            )
        return found[0]

    def _stored(self, request: Request, plugins: Plugins) -> list[Stored]:
        """Return the baseline of this test; other tests may share the folder."""
        (suite,), (algorithm,) = request.suites, request.algorithms
        try:
            found, _ = select(self._folder, [str(suite)], [algorithm], plugins, request.data_root)
        except NothingToRun:
            found = []
        own = [
            (path, result)
            for path, result in found
            if (result.job.budget, result.job.device, result.suite.train_on or "")
            == (request.budget, request.device.partition(":")[0], request.train_on)
        ]
        if not own:
            raise NothingToRun(
                f"{self._folder} has no baseline for {algorithm} on {suite} with budget "
                f"{request.budget}; {_UPDATE}"
            )
        return own


def _check_size(stored: Sequence[Stored], request: Request, plugins: Plugins) -> None:
    """Refuse a baseline that is smaller or larger than the test asks for."""
    alone = plugins.algorithm(parse(request.algorithms[0]).name).spec.deterministic
    for what, has, asked in (
        ("seeds", len(stored), 1 if alone else request.seeds),
        ("blocks", 1 + min(len(r.blocks) for _, r in stored), request.blocks),
    ):
        if has != asked:
            raise UsageError(f"the baseline has {has} {what}, the test asks for {asked}; {_UPDATE}")


def _same(store: Store, path: Path, result: Result) -> bool:
    """Return whether the stored baseline has the same outputs; it is then left unchanged."""
    try:
        old = store.load(path)
    except MetabenchError:
        return False
    if old is None or old.scores is None or result.scores is None:
        return False
    outputs = [[s.outputs_digest for s in scored_blocks(r)] for r in (old, result)]
    facts = [(r.suite, r.job.params, r.job.training) for r in (old, result)]
    return outputs[0] == outputs[1] and facts[0] == facts[1]
