"""The built-in backbones by name; importing this file imports no torch."""

from __future__ import annotations

from metabench.learner import Backbone

BACKBONES: tuple[Backbone, ...] = (
    Backbone(
        "conv4",
        build="metabench.nets.conv4:conv4",
        params={"channels": 64, "pool": True, "bn": "running"},
        choices={"bn": ("episode", "support", "running", "none")},
        reference="Vinyals et al. 2016, arXiv:1606.04080",
    ),
    Backbone(
        "cnn",
        build="metabench.nets.cnn:cnn",
        reference="the MNIST example of Keras, without dropout",
    ),
    Backbone(
        "mlp",
        build="metabench.nets.mlp:mlp",
        params={"hidden": 40, "layers": 2, "init_std": 0.0},
        reference="Finn et al. 2017, arXiv:1703.03400, section 5.1",
    ),
)
