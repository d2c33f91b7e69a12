"""Training that was broken off goes on as if it had not been."""

from __future__ import annotations

import hashlib
import io
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.neighbors import KDTree
from training_materials import digits_material, plan, task

from metabench import DataError, Episodes, Learner, Support, class_means
from metabench.cell.messages import CheckpointSettings
from metabench.files import MAX_CHECKPOINT
from metabench.learner import load
from metabench.results.schema import MetaTraining
from metabench.worker import memory
from metabench.worker.checkpoint import CheckpointFile, SavedLoop
from metabench.worker.learner_state import state_dict
from metabench.worker.meta_training import meta_train
from metabench.worker.session import seed_everything
from metabench_plugins import metabench_algorithms

ALGORITHMS = {algorithm.name: algorithm for algorithm in metabench_algorithms()}


class Killed(Exception):
    pass


class Random(Learner):
    """Uses every generator there is, and Adam."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.own = task.generator()
        self.numpys = np.random.default_rng(task.seed)
        self.pythons = random.Random(task.seed)
        self.weight = torch.nn.Parameter(torch.rand(64))
        self.optimizer = torch.optim.Adam([self.weight], lr=0.1)
        self.steps = 0

    def meta_step(self, episodes: Episodes) -> float:
        noise = torch.rand(64) + torch.rand(64, generator=self.own)
        noise = noise * (np.random.rand() + self.numpys.random())
        noise = noise * (random.random() + self.pythons.random())
        loss = (self.weight * noise).sum() + episodes.support.x.sum() * self.weight.square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    def adapt(self, support: Support) -> torch.Tensor:
        return class_means(Support(support.x.flatten(1) * self.weight, support.y))

    def predict(self, state: torch.Tensor, query_x: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(query_x.flatten(1) * self.weight, state)


def keeper(
    folder: Path,
    every: float = 0.0,
    identity: str = "cell",
    keep: bool = False,
    frozen: bool = False,
    cell: str = "suite/algorithm/cell.json",
) -> CheckpointFile:
    return CheckpointFile(
        CheckpointSettings(str(folder / "cell.pt"), cell, identity, every, keep, frozen), "code"
    )


def train(
    build: Callable[[Any], Learner],
    keep: CheckpointFile | None,
    updates: int = 4,
    killed_after: int | None = None,
) -> tuple[Learner, MetaTraining | None]:
    """Train a new learner; killed before the checkpoint of the update after `killed_after`."""
    seed_everything(0)
    learner = build(task(way=3))
    seen = 0

    def report(fraction: float, values: dict[str, float | None]) -> None:
        nonlocal seen
        seen += 1
        if seen - 1 == killed_after:
            raise Killed

    material, what = digits_material(), plan(updates=updates, tasks_per_step=3)
    try:
        return learner, meta_train(learner, material, what, report, keep)
    except Killed:
        return learner, None


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def builtin(name: str) -> Callable[[Any], Learner]:
    algorithm = ALGORITHMS[name]
    params = {**algorithm.params}
    return lambda spec: load(algorithm.build)(spec, **params)


@pytest.mark.parametrize(
    "build",
    [Random, *map(builtin, ("maml", "meta-sgd", "protonet"))],
    ids=["every generator", "maml", "meta-sgd", "protonet"],
)
def test_two_and_two_updates_are_four(build: Callable[[Any], Learner], tmp_path: Path) -> None:
    whole, undisturbed = train(build, None)
    _, killed = train(build, keeper(tmp_path), killed_after=2)
    assert killed is None
    resumed, training = train(build, keeper(tmp_path))
    assert undisturbed is not None
    assert training is not None
    assert training.resumed == 1
    assert undisturbed.resumed == 0
    assert equal(state_dict(whole), state_dict(resumed))
    assert training.curve == undisturbed.curve
    assert (training.updates, training.tasks) == (undisturbed.updates, undisturbed.tasks)
    assert training.best_validation == undisturbed.best_validation
    assert training.selected_update == undisturbed.selected_update


def test_a_block_of_episodes_that_was_begun_is_resumed(tmp_path: Path) -> None:
    # 128 // 3 updates share one drawn block; 45 is in the second.
    whole, _ = train(Random, None, updates=48)
    train(Random, keeper(tmp_path), updates=48, killed_after=45)
    resumed, training = train(Random, keeper(tmp_path), updates=48)
    assert training is not None
    assert training.resumed == 1
    assert equal(state_dict(whole), state_dict(resumed))


def test_a_checkpoint_of_another_cell_is_ignored(tmp_path: Path, caplog) -> None:
    train(Random, keeper(tmp_path), killed_after=2)
    _, training = train(Random, keeper(tmp_path, identity="another"))
    assert training is not None
    assert training.resumed == 0
    assert "made by different code or data" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_ignored(tmp_path: Path, caplog, damage: bytes | None) -> None:
    train(Random, keeper(tmp_path), killed_after=2)
    file = tmp_path / "cell.pt"
    file.write_bytes(file.read_bytes()[:-200] if damage is None else damage)
    _, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert training.resumed == 0
    assert "is damaged, or of another version of metabench: training starts again" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
def test_a_checkpoint_with_one_changed_bit_is_not_resumed(
    tmp_path: Path, caplog, share: float
) -> None:
    train(Random, keeper(tmp_path), killed_after=2)
    file = tmp_path / "cell.pt"
    content = bytearray(file.read_bytes())
    content[int(share * (len(content) - 1))] ^= 4
    file.write_bytes(content)
    _, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert training.resumed == 0
    assert "training starts again" in caplog.text


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a checkpoint and write it with the right digest."""
    content = torch.load(io.BytesIO(file.read_bytes()[:-32]), weights_only=True)
    change(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("learner"),
        lambda content: content.pop("best"),
        lambda content: content.update(learner=[1]),
        lambda content: content.update(learner={"": {"weight": 3}}),
        lambda content: content["learner"][""]["weight"].pop("requires_grad"),
        lambda content: content["learner"][""]["optimizer"].update(keys=["gone"]),
        lambda content: content["learner"].pop("weight"),
        lambda content: content["learner"].update(numpys=[]),
        lambda content: content.update(update="two"),
        lambda content: content.update(seconds=-1.0),
        lambda content: content.update(curve=[{"update": "one"}]),
        lambda content: content["generators"].pop("torch"),
        lambda content: content["generators"].update(python=(3, "?", None)),
        lambda content: content["generators"].update(numpy={}),
    ],
)
def test_a_checkpoint_of_another_form_is_not_resumed(
    tmp_path: Path, caplog, change: Callable[[dict[str, Any]], object]
) -> None:
    whole, _ = train(Random, None)
    train(Random, keeper(tmp_path), killed_after=2)
    rewrite(tmp_path / "cell.pt", change)
    again, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert training.resumed == 0
    assert "training starts again" in caplog.text
    assert equal(state_dict(whole), state_dict(again))


def test_a_frozen_learner_of_another_form_is_refused_as_such(tmp_path: Path) -> None:
    train(Random, keeper(tmp_path, keep=True))
    rewrite(tmp_path / "cell.pt", lambda content: content.pop("learner"))
    with pytest.raises(DataError, match=r"cell.pt cannot be read \(.*`learner`.*--frozen forbids"):
        train(Random, keeper(tmp_path, frozen=True))


def test_a_frozen_learner_of_another_cell_is_refused(tmp_path: Path) -> None:
    train(Random, keeper(tmp_path, keep=True))
    with pytest.raises(DataError, match="is of another cell, suite/algorithm/cell"):
        train(Random, keeper(tmp_path, frozen=True, cell="suite/algorithm/other.json"))


def link(file: Path) -> None:
    file.rename(file.with_name("elsewhere.pt"))
    file.symlink_to("elsewhere.pt")


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def sparse(file: Path) -> None:
    os.truncate(file, MAX_CHECKPOINT + 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (link, "cell.pt is a link"),
        (fifo, "this is not a regular file"),
        (folder, "Is a directory"),
        (sparse, "it is larger than 16 GiB"),
    ],
)
def test_a_checkpoint_that_is_no_usual_file_is_not_read(
    tmp_path: Path, caplog, change: Callable[[Path], None], said: str
) -> None:
    train(Random, keeper(tmp_path), killed_after=2)
    change(tmp_path / "cell.pt")
    _, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert training.resumed == 0
    assert f"cannot be read ({said}): training starts again" in caplog.text


def test_a_checkpoint_without_a_digest_is_not_resumed(tmp_path: Path, caplog) -> None:
    torch.save({"format": 2, "of": "cell code", "learner": {}}, tmp_path / "cell.pt")
    _, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert training.resumed == 0
    assert "of another version of metabench: training starts again" in caplog.text


def check_resumed(learner: type[Random], folder: Path, times: int) -> None:
    """Check that a learner killed in training ends as if it had not been, resumed or not."""
    whole, _ = train(learner, None)
    train(learner, keeper(folder), killed_after=2)
    resumed, training = train(learner, keeper(folder))
    assert training is not None
    assert training.resumed == times
    assert equal(state_dict(whole), state_dict(resumed))


def test_a_checkpoint_whose_optimiser_has_more_groups_is_not_resumed(
    tmp_path: Path, caplog
) -> None:
    class Unfreezing(Random):
        def __init__(self, task: Any) -> None:
            super().__init__(task)
            self.bias = torch.nn.Parameter(torch.zeros(1))

        def meta_step(self, episodes: Episodes) -> float:
            if self.steps == 1:
                self.optimizer.add_param_group({"params": [self.bias]})
            return super().meta_step(episodes)

    check_resumed(Unfreezing, tmp_path, 0)
    assert "does not fit the learner as it is built" in caplog.text


class Lazy(Random):
    """A learner whose network gets its parameters at its first call."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.net = torch.nn.Sequential(torch.nn.LazyLinear(4), torch.nn.LazyBatchNorm1d())
        self.of_net = torch.optim.Adam(self.net.parameters(), lr=0.1)

    def meta_step(self, episodes: Episodes) -> float:
        loss = self.net(episodes.support.x.flatten(0, 1).flatten(1)).square().mean()
        self.of_net.zero_grad()
        loss.backward()
        self.of_net.step()
        return super().meta_step(episodes)


def test_a_lazy_network_is_resumed_into_one_without_parameters(tmp_path: Path) -> None:
    check_resumed(Lazy, tmp_path, 1)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "of": "cell", "learner": Evil()}, tmp_path / "cell.pt")
    assert keeper(tmp_path).resume(Random(task(way=3)), SavedLoop) is None
    assert not (tmp_path / "touched").exists()


def test_a_state_that_is_not_plain_is_not_kept_and_training_goes_on(tmp_path: Path, caplog) -> None:
    class Odd(Random):
        def state_dict(self) -> dict[str, Any]:
            return {"odd": Path("a path is no plain value")}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    _, training = train(Odd, keeper(tmp_path))
    assert training is not None
    assert training.updates == 4
    assert not (tmp_path / "cell.pt").exists()
    assert caplog.text.count("no checkpoint is kept") == 1


def test_what_is_made_in_the_first_update_only_cannot_be_resumed(tmp_path: Path, caplog) -> None:
    class Late(Random):
        def meta_step(self, episodes: Episodes) -> float:
            if not hasattr(self, "late"):
                self.late = torch.zeros(3)
            return super().meta_step(episodes)

    check_resumed(Late, tmp_path, 0)
    assert "does not fit" in caplog.text


def test_a_full_disk_costs_the_checkpoint_only(tmp_path: Path, caplog) -> None:
    (tmp_path / "cell.pt").mkdir()  # cannot be replaced by a file
    (tmp_path / "cell.pt" / "x").touch()
    _, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert "no checkpoint is kept" in caplog.text


def test_a_short_training_writes_none_unless_it_is_to_be_kept(tmp_path: Path) -> None:
    train(Random, keeper(tmp_path, every=1000))
    assert not (tmp_path / "cell.pt").exists()
    train(Random, keeper(tmp_path, every=1000, keep=True))
    assert (tmp_path / "cell.pt").exists()


def test_the_most_memory_of_every_process_counts(tmp_path: Path, monkeypatch) -> None:
    peaks = iter([100, 400, 200, 100])
    monkeypatch.setattr(memory, "peak", lambda device: next(peaks, 50))
    train(Random, keeper(tmp_path), killed_after=2)
    _, training = train(Random, keeper(tmp_path))
    assert training is not None
    assert (training.resumed, training.peak_memory) == (1, 400)


class Fitted(Random):
    """Has `fit` in place of `meta_step`, and a generator's state is part of what comes out."""

    meta_step = property()  # type: ignore[assignment]  # not there, for hasattr

    def fit(self, base: Any) -> None:
        for x, _ in base.batches(10):
            self.weight.data += x.mean() * torch.rand(64, generator=self.own)


def test_what_was_fitted_is_not_fitted_again(tmp_path: Path) -> None:
    fitted, first = train(Fitted, keeper(tmp_path, keep=True))
    again, second = train(Fitted, keeper(tmp_path, keep=True))
    assert first is not None
    assert second is not None
    assert (first.resumed, second.resumed) == (0, 1)
    assert second.seconds == first.seconds
    assert equal(state_dict(fitted), state_dict(again))


def test_what_took_no_time_to_fit_is_not_kept(tmp_path: Path) -> None:
    train(Fitted, keeper(tmp_path, every=30.0))
    assert not (tmp_path / "cell.pt").exists()


def test_a_fitted_learner_that_cannot_be_saved_is_fitted_again(tmp_path: Path, caplog) -> None:
    class Tree(Fitted):
        def fit(self, base: Any) -> None:
            self.tree = KDTree(np.zeros((3, 2)))

    train(Tree, keeper(tmp_path, keep=True))
    assert "the state of Tree.tree, of type KDTree, cannot be saved" in caplog.text
    assert not (tmp_path / "cell.pt").exists()


@pytest.mark.parametrize("build", [Random, Fitted])
def test_a_frozen_learner_is_taken_from_other_code_and_not_trained(
    build: Callable[[Any], Learner], tmp_path: Path
) -> None:
    trained, _ = train(build, keeper(tmp_path, keep=True))
    frozen, training = train(build, keeper(tmp_path, identity="other code", frozen=True))
    assert training is not None
    assert training.resumed == 1
    assert equal(state_dict(trained), state_dict(frozen))


@pytest.mark.parametrize("build", [Random, Fitted])
def test_a_frozen_learner_needs_its_checkpoint(
    build: Callable[[Any], Learner], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"cell.pt does not exist, and --frozen forbids training"):
        train(build, keeper(tmp_path, frozen=True))


def test_a_frozen_learner_must_be_trained_to_the_end(tmp_path: Path) -> None:
    train(Random, keeper(tmp_path), killed_after=2)
    with pytest.raises(DataError, match=r"is incomplete \(2 updates\), and --frozen"):
        train(Random, keeper(tmp_path, frozen=True))


class Functional(Random):
    """Adam by hand, its state in a named tuple, and its counts in an object."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.adam = AdamState(torch.zeros(64), torch.zeros(64), 0)
        self.counts = Counts(0)

    def meta_step(self, episodes: Episodes) -> float:
        loss = super().meta_step(episodes)
        gradient, t = self.weight.grad, self.adam.t + 1
        assert gradient is not None
        m, v = self.adam.m.lerp(gradient, 0.1), self.adam.v.lerp(gradient.square(), 0.01)
        self.weight.data -= 0.01 / t * m / (v / t).sqrt().add(1e-3)
        self.adam = AdamState(m, v, t)
        self.counts.steps += 1
        return loss


class AdamState(NamedTuple):
    m: torch.Tensor
    v: torch.Tensor
    t: int


@dataclass
class Counts:
    steps: int


def test_numbers_in_tuples_and_objects_are_restored(tmp_path: Path) -> None:
    whole, _ = train(Functional, None)
    train(Functional, keeper(tmp_path), killed_after=2)
    resumed, training = train(Functional, keeper(tmp_path))
    assert training is not None
    assert training.resumed == 1
    assert equal(state_dict(whole), state_dict(resumed))


def test_a_state_that_is_refused_costs_the_checkpoint_only(tmp_path: Path, caplog) -> None:
    class Iterating(Random):
        def __init__(self, task: Any) -> None:
            super().__init__(task)
            self.inner = {"numbers": iter(range(100))}

    _, training = train(Iterating, keeper(tmp_path))
    assert training is not None
    assert caplog.text.count("the state of Iterating.inner.numbers, of type range_iterator") == 1
    assert not (tmp_path / "cell.pt").exists()
