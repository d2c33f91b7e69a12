"""The catalogue of built-in algorithms: one entry and one file each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metabench.learner import Algorithm, Defaults, TrainingEpisodes
from metabench.plugins.hookspecs import hookimpl

FLOOR = frozenset({"floor"})  # `metabench check` does not ask whether they learn
BOTH = frozenset({"classification", "regression"})

FLOORS = (
    Algorithm("chance", "metabench_plugins.floors:Chance", tasks=BOTH, tags=FLOOR),
    Algorithm(
        "pixel-1nn",
        "metabench_plugins.floors:PixelNearestNeighbour",
        tags=FLOOR,
        reference="Cover and Hart 1967, IEEE Transactions on Information Theory 13",
        deterministic=True,
    ),
    Algorithm(
        "untrained",
        "metabench_plugins.floors:Untrained",
        params={"backbone": "conv4"},
        tags=FLOOR,
    ),
)

BASELINES = (
    Algorithm(
        "pca-lr",
        "metabench_plugins.pca_lr:PcaLr",
        params={"components": 50, "C": 1.0, "max_iter": 1000},
        reference="Pedregosa et al. 2011, JMLR 12",
        deterministic=True,
    ),
    Algorithm(
        "sgd",
        "metabench_plugins.sgd:Sgd",
        params={"components": 50, "alpha": 1e-4, "max_iter": 1000},
        reference="Bottou 2010, COMPSTAT; Pedregosa et al. 2011, JMLR 12",
    ),
    Algorithm(
        "cnn-adam",
        "metabench_plugins.cnn_adam:CnnAdam",
        params={"backbone": "cnn", "lr": 5e-3, "steps": 7},
        reference="Kingma and Ba 2015, arXiv:1412.6980",
    ),
    Algorithm(
        "pretrained",
        "metabench_plugins.pretrained:Pretrained",
        params={
            "backbone": "conv4",
            "epochs": 0,
            "batch_size": 128,
            "lr": 1e-3,
            "finetune_steps": 100,
            "finetune_lr": 1e-2,
        },
        tasks=BOTH,
        regression=Defaults(
            params={"backbone": "mlp", "batch_size": 250, "finetune_steps": 10},
            budgets={"smoke": 500, "standard": 10000, "paper": 60000},
        ),
        reference="Chen et al. 2019, arXiv:1904.04232",
    ),
)

# Shared by MAML and Meta-SGD, so that they differ only in their step sizes.
_GRADIENT_BASED: dict[str, Any] = {
    "params": {
        "backbone": "conv4[bn=support]",
        "lr": 1e-3,
        "inner_lr": 0.1,
        "inner_steps": 1,
        "adapt_steps": 0,
        "first_order": False,
    },
    "training": TrainingEpisodes(query=5, tasks_per_step=4),
    "budgets": {"smoke": 20, "standard": 500, "paper": 60000},
    "tasks": BOTH,
}


def _on_functions(inner_lr: float) -> Defaults:
    """Return the papers' settings for sinusoids.

    The paper on Meta-SGD draws the first step sizes around 0.05.
    """
    return Defaults(
        params={"backbone": "mlp[init_std=0.01]", "inner_lr": inner_lr},
        training=TrainingEpisodes(query=10, tasks_per_step=4),
        budgets={"smoke": 500, "standard": 10000, "paper": 60000},
    )


META_LEARNERS = (
    Algorithm(
        "protonet",
        "metabench_plugins.protonet:ProtoNet",
        params={"backbone": "conv4", "lr": 1e-3, "halve_every": 2000},
        training=TrainingEpisodes(way=20, query=5),
        budgets={"smoke": 50, "standard": 2000, "paper": 20000},
        reference="Snell et al. 2017, arXiv:1703.05175",
    ),
    Algorithm(
        "maml",
        "metabench_plugins.maml:Maml",
        regression=_on_functions(inner_lr=0.01),
        reference="Finn et al. 2017, arXiv:1703.03400",
        **_GRADIENT_BASED,
    ),
    Algorithm(
        "meta-sgd",
        "metabench_plugins.meta_sgd:MetaSgd",
        regression=_on_functions(inner_lr=0.05),
        reference="Li et al. 2017, arXiv:1707.09835",
        **_GRADIENT_BASED,
    ),
)


@hookimpl
def metabench_algorithms() -> Iterator[Algorithm]:
    """Yield the built-in algorithms."""
    yield from FLOORS
    yield from BASELINES
    yield from META_LEARNERS
