"""`metabench gate`: its output, its exit codes, and a baseline that it does not change."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cli.running import Outcome, results, run_in
from msgspec.structs import replace

from metabench.results.store import Store

PLUGIN = """
import torch

import metabench


class Centroid(metabench.Learner):
    noise, lr = 0.0, 0.1

    def __init__(self, task, shift=0.0):
        super().__init__(task)
        self.shift = shift

    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        x = query_x.flatten(1)
        noise = torch.randn(x.shape, generator=self.task.generator())
        return -torch.cdist(x + self.noise * noise + self.shift * noise, centroids)


class Scaled(Centroid):
    def __init__(self, task):
        super().__init__(task)
        self.scale = torch.ones(64) + 0.1 * torch.randn(64, generator=task.generator())

    def meta_step(self, episodes):
        self.scale += self.lr * episodes.support.x.flatten(2).mean(dim=(0, 1))
        return 0.0

    def adapt(self, support):
        x = support.x.flatten(1) * self.scale
        return metabench.class_means(metabench.Support(x, support.y))

    def predict(self, centroids, query_x):
        return super().predict(centroids, query_x.flatten(1) * self.scale)


@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm(
        "centroid", build=Centroid, params={"shift": 0.0}, deterministic=True
    )
    yield metabench.Algorithm("scaled", build=Scaled, budgets={"smoke": 5})
"""


FILE = "base/digits-5w1s/centroid/default-s0-smoke-cpu.json"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run_baseline(folder: Path, algorithm: str) -> None:
    """Add three blocks, and of what is meta-trained three seeds, to a folder's baseline."""
    made = run_in(
        folder,
        *("run", "-p", "my.py", "-s", "digits-5w1s", "-a", algorithm),
        *("--seeds", 3, "--blocks", 3, "--results", "base", "--keep-checkpoints"),
    )
    assert made.code == 0, made.err
    for result in results(folder / "base").values():
        assert len(result.blocks) == 2
        digests = [result.suite.episodes_digest, *(b.episodes_digest for b in result.blocks)]
        assert len(set(digests)) == 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin and a baseline of one of its two algorithms."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "my.py").write_text(PLUGIN)
    run_baseline(folder, "centroid")
    return folder


@pytest.fixture(scope="module")
def made_of_both(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gates") / "of both"
    shutil.copytree(made, folder)
    run_baseline(folder, "scaled")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Copy the folder, so that the plugin or the baseline can be changed."""
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def both(made_of_both: Path, tmp_path: Path) -> Path:
    """Copy the folder with a baseline of both algorithms."""
    shutil.copytree(made_of_both, tmp_path / "here")
    return tmp_path / "here"


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "my.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def gate(folder: Path, *args: object) -> Outcome:
    before = tree(folder / "base")
    outcome = run_in(folder, "gate", "--baseline", "base", "-p", "my.py", *args)
    assert tree(folder / "base") == before
    return outcome


def gated(folder: Path, *args: object) -> dict[str, dict[str, object]]:
    found = json.loads(gate(folder, "--json", *args).out)
    assert found["schema"] == 1
    return {one["algorithm"]: one for one in found["gated"]}


@pytest.mark.slow
def test_unchanged_code_passes_at_once(both: Path) -> None:
    outcome = gate(both)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("gate: 2 pass\n")
    assert outcome.out.count("all outputs are equal") == 2
    assert "4 cells" not in outcome.out
    assert len(outcome.err.splitlines()) == 4  # of one look: 1 + 3 seeds
    assert {p.name for p in both.iterdir()} - {"__pycache__"} == {"my.py", "base"}


@pytest.mark.slow
def test_a_default_that_has_become_worse_fails(folder: Path) -> None:
    edit(folder, '{"shift": 0.0}', '{"shift": 1.0}')
    outcome = gate(folder, "-a", "centroid")
    assert outcome.code == 1
    assert "differs: code " in outcome.out
    assert "shift 0.0 -> 1.0" in outcome.out
    # To run it as it was is what replay is for.
    assert run_in(folder, "replay", "-p", "my.py", FILE).code == 0


@pytest.mark.slow
def test_what_has_become_worse_fails_and_says_how(folder: Path) -> None:
    edit(folder, "noise, lr = 0.0", "noise, lr = 1.0")
    outcome = gate(folder, "-a", "centroid")
    assert outcome.code == 1
    title, columns, row, *said = outcome.out.splitlines()
    assert title == "gate: 1 fail"
    assert columns.split()[:3] == ["verdict", "suite", "algorithm"]
    assert row.split()[:6] == ["fail", "digits-5w1s", "centroid", "1", "x", "100"]
    text = "\n".join(said)
    assert "fail: digits-5w1s centroid: worse than the margin allows" in text
    assert "difference -" in text
    assert "96.67% interval" in text
    assert "differs: code " in text
    assert "episodes that differ most: " in text
    assert "base/digits-5w1s/centroid/default-s0-smoke-cpu.json" in text


@pytest.mark.slow
def test_more_episodes_are_run_until_the_verdict_is_clear(folder: Path) -> None:
    edit(folder, "noise, lr = 0.0", "noise, lr = 0.05")
    found = gated(folder, "-a", "centroid")["centroid"]
    assert (found["verdict"], found["looks"], found["episodes"]) == ("pass", 3, 300)
    assert found["equal"] is False
    outcome = gate(folder, "-a", "centroid", "--margin", "0.1pp")
    assert outcome.code == 3
    assert "inconclusive: digits-5w1s centroid: too few episodes to decide" in outcome.out


@pytest.mark.slow
def test_too_few_episodes_are_inconclusive(folder: Path) -> None:
    edit(folder, "noise, lr = 0.0", "noise, lr = 0.05")
    store = Store(folder / "base")
    for path, result in store.read()[0]:
        store.write(path, replace(result, blocks=[]))
    outcome = gate(folder, "-a", "cent*", "--margin", "0.01pp")
    assert outcome.code == 3
    assert "90.00% interval" in outcome.out
    assert "after look 1 at 100 episodes" in outcome.out


@pytest.mark.slow
def test_what_is_meta_trained_needs_three_seeds(both: Path) -> None:
    edit(both, "0.0, 0.1", "0.0, 0.2")
    (both / "base/digits-5w1s/scaled/default-s2-smoke-cpu.json").unlink()
    outcome = gate(both, "-a", "scaled")
    assert outcome.code == 3
    assert "needs 3 seeds, the baseline has 2" in outcome.out
    assert len(outcome.err.splitlines()) == 2  # no further episodes are bought


@pytest.mark.slow
def test_a_frozen_learner_is_not_trained(both: Path) -> None:
    edit(both, "0.0, 0.1", "0.0, 5.0")
    assert gated(both, "-a", "scaled")["scaled"]["equal"] is False
    assert gated(both, "--frozen")["scaled"]["equal"] is True
    shutil.rmtree(both / "base/checkpoints")
    outcome = gate(both, "--frozen")
    assert outcome.code == 1
    assert outcome.out.startswith("gate: 1 error, 1 pass\n")  # centroid needs none
    assert "error: digits-5w1s scaled: no base/checkpoints/digits-5w1s/scaled/" in outcome.out
    assert "--keep-checkpoints" in outcome.out


@pytest.mark.slow
def test_a_checkpoint_that_is_no_usual_file_costs_its_own_case(both: Path) -> None:
    checkpoint = both / "base/checkpoints/digits-5w1s/scaled/default-s1-smoke-cpu.pt"
    content = checkpoint.read_bytes()

    def refused(said: str) -> bool:
        outcome = run_in(both, "gate", "--baseline", "base", "-p", "my.py", "--frozen")
        lines = [line for line in outcome.out.splitlines() if said in line]
        start = "gate: 1 error, 1 pass\n"
        return outcome.code == 1 and outcome.out.startswith(start) and len(lines) > 0

    checkpoint.unlink()
    checkpoint.symlink_to("/dev/zero")
    assert refused("cannot be read: default-s1-smoke-cpu.pt is a link")
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    assert refused("cannot be read: this is not a regular file")
    checkpoint.unlink()
    checkpoint.mkdir()
    assert refused("cannot be read: Is a directory")
    checkpoint.rmdir()
    checkpoint.write_bytes(content)
    os.truncate(checkpoint, 17 << 30)
    assert refused("cannot be read: it is larger than 16 GiB")
    os.truncate(checkpoint, 1 << 30)  # sparse, and the copy is too
    assert refused("is damaged")
    checkpoint.write_bytes(checkpoint.with_name("default-s0-smoke-cpu.pt").read_bytes())
    assert refused("is of another cell, digits-5w1s/scaled/default-s0-smoke-cpu.json")


@pytest.mark.slow
def test_what_fails_or_is_not_there_any_more_costs_its_own_case(both: Path) -> None:
    edit(both, "return 0.0", "raise ZeroDivisionError('oh')")
    outcome = gate(both)
    assert outcome.code == 1
    assert outcome.out.startswith("gate: 1 error, 1 pass\n")
    assert "error: digits-5w1s scaled: error: ZeroDivisionError: oh" in outcome.out
    edit(both, 'yield metabench.Algorithm("scaled"', 'yield metabench.Algorithm("scalded"')
    outcome = gate(both)
    assert outcome.code == 1
    assert "unknown algorithm 'scaled': did you mean 'scalded'?" in outcome.out


def test_other_episodes_do_not_compare(folder: Path) -> None:
    store = Store(folder / "base")
    (path,) = (path for path in store.paths() if path.parts[1] == "centroid")
    result = store.load(path)
    assert result is not None
    suite = replace(result.suite, episodes_digest=result.suite.episodes_digest[::-1])
    store.write(path, replace(result, suite=suite))
    outcome = gate(folder, "-a", "centroid")
    assert outcome.code == 1
    assert "the episodes of digits-5w1s are not those of the stored result" in outcome.out


@pytest.mark.slow
def test_margins_come_from_bench_toml(folder: Path) -> None:
    edit(folder, "noise, lr = 0.0", "noise, lr = 1.0")
    (folder / "bench.toml").write_text('suites = ["glyphs-5w1s"]\n[margins]\ncentroid = "90pp"\n')
    found = gated(folder, "-a", "centroid")["centroid"]
    assert (found["margin"], found["verdict"]) == (0.9, "pass")
    assert found["reason"] == "worse, but within the margin"
    (folder / "bench.toml").write_text('[margins]\ncentriod = "90pp"\n')
    outcome = gate(folder)
    assert outcome.code == 2
    assert "unknown algorithm in [margins] 'centriod': did you mean 'centroid'?" in outcome.err
    (folder / "bench.toml").write_text('[margins]\ncentroid = "90 apples"\n')
    outcome = gate(folder)
    assert outcome.code == 2
    assert "margin '90 apples': write" in outcome.err


@pytest.mark.slow
def test_results_are_kept_if_asked_for_and_never_in_the_baseline(folder: Path) -> None:
    assert gate(folder, "-a", "centroid", "--results", "new").code == 0
    assert list(results(folder / "new")) == ["digits-5w1s/centroid/default-s0-smoke-cpu.json"]
    outcome = gate(folder, "--results", "base")
    assert outcome.code == 2
    assert "that is the baseline" in outcome.err
    assert gate(folder, "--results", "base/new").code == 2
    assert gate(folder, "--frozen", "--results", "new").code == 2
    # What is there may be of another machine: it is no reason not to look.
    assert len(gate(folder, "-a", "centroid", "--results", "new").err.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("-a", "maml"), 4, "no scores in baseline 'base' for -a maml"),
        (("-s", "glyphs-*"), 4, "no scores in baseline 'base' for -s glyphs-*"),
        (("--margin", "half"), 2, "margin 'half': write"),
        (("--margin", "5"), 2, "margin '5' is 500 points of accuracy: write 5pp"),
        (("--threads", "-1"), 2, "threads=-1: must be at least 0"),
    ],
)
def test_mistakes_are_one_line(made: Path, args: tuple[str, ...], code: int, said: str) -> None:
    outcome = gate(made, *args)
    assert outcome.code == code
    (line,) = outcome.err.splitlines()
    assert said in line


def test_no_baseline_is_one_line_with_what_to_do(tmp_path: Path) -> None:
    outcome = run_in(tmp_path, "gate", "--baseline", "nowhere")
    assert outcome.code == 4
    assert "run --blocks 3 --seeds 3 --results nowhere" in outcome.err


def test_a_damaged_baseline_is_not_passed_over(folder: Path) -> None:
    (file,) = (folder / "base").glob("*/centroid/*.json")
    damaged = Path(str(file).replace("centroid", "scaled"))
    damaged.parent.mkdir()
    damaged.write_text(file.read_text()[:100])
    outcome = gate(folder)
    assert outcome.code == 2
    assert "make this baseline again" in outcome.err
    assert gate(folder, "-a", "centroid").code == 0  # of its files none is damaged


def test_a_plugin_that_fails_is_warned_of_once(cli, tmp_path: Path, chance_run: Path) -> None:
    (tmp_path / "bad.py").write_text("raise ValueError('boom')\n")
    baseline = chance_run / "results-smoke"
    outcome = cli("gate", "--baseline", str(baseline), "-p", "bad.py")
    assert outcome.err.count("metabench: warning: plugin 'bad.py'") == 1
