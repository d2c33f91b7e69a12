from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

from metabench import Backbone, TaskSpec
from metabench.learner import load
from metabench.nets.backbones import BACKBONES
from metabench.nets.norms import NORMS
from metabench.nets.shapes import out_features

NAMES = [backbone.name for backbone in BACKBONES]


@pytest.mark.parametrize("backbone", BACKBONES, ids=NAMES)
def test_declared_defaults_are_those_of_the_function(backbone: Backbone) -> None:
    _, *params = inspect.signature(load(backbone.build)).parameters.values()
    assert {p.name: p.default for p in params} == dict(backbone.params)
    assert all(p.kind is p.KEYWORD_ONLY for p in params)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [8, 28])
def test_every_backbone_gives_features_and_gradients(name: str, size: int) -> None:
    shape = (1, size, size)
    task = TaskSpec(shape, way=5, shot=1, backbones={b.name: b for b in BACKBONES})
    module = task.backbone(name)
    features = module(torch.rand(3, *shape, generator=task.generator()))
    assert features.shape == (3, out_features(module, shape))
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_the_same_seed_builds_the_same_network() -> None:
    def weights(seed: int) -> torch.Tensor:
        backbones = {b.name: b for b in BACKBONES}
        task = TaskSpec((1, 8, 8), way=5, shot=1, seed=seed, backbones=backbones)
        return torch.cat([p.flatten() for p in task.backbone("conv4").parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_choices_are_those_that_the_function_takes() -> None:
    (conv4,) = (backbone for backbone in BACKBONES if backbone.name == "conv4")
    assert conv4.choices == {"bn": tuple(NORMS)}


def test_the_catalogue_imports_no_torch() -> None:
    code = "import sys, metabench.nets.backbones; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
