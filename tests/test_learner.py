from __future__ import annotations

import dataclasses
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from metabench import (
    Algorithm,
    Backbone,
    BatchedLearner,
    Defaults,
    Episodes,
    Learner,
    Support,
    TaskSpec,
    TrainingEpisodes,
)
from metabench.errors import UsageError
from metabench.learner import DEFAULT_BUDGETS, load
from metabench.nets.heads import linear_head


class Constant(Learner):
    def adapt(self, support):
        return self.task.way

    def predict(self, state, query_x):
        return torch.zeros(len(query_x), state)


def linear(input_shape, width):
    features = torch.Size(input_shape).numel()
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(features, width))


BACKBONES = {"linear": Backbone("linear", build=linear, params={"width": 4})}
TASK = TaskSpec(input_shape=(1, 3, 3), way=5, shot=1, backbones=BACKBONES)


def episodes(tasks: int = 3) -> Episodes:
    x = torch.arange(tasks * 4 * 2.0).reshape(tasks, 4, 2)
    y = torch.arange(tasks * 4).reshape(tasks, 4)
    return Episodes(Support(x, y), Support(x + 100, y + 100), way=2)


def test_the_facade_imports_no_torch_until_it_is_needed():
    code = "import sys, metabench; metabench.Algorithm; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_episodes_have_a_length_and_yield_one_task_at_a_time():
    batch = episodes(3)
    assert len(batch) == 3
    for t, (support, query) in enumerate(batch):
        assert torch.equal(support.x, batch.support.x[t])
        assert torch.equal(support.y, batch.support.y[t])
        assert torch.equal(query.x, batch.query.x[t])
        assert torch.equal(query.y, batch.query.y[t])
    assert t == 2


def test_a_learner_must_define_adapt_and_predict():
    class Half(Learner):
        def adapt(self, support):
            return support

    with pytest.raises(TypeError, match="predict"):
        Half(TASK)


def test_a_learner_keeps_its_task_and_refuses_unknown_parameters():
    assert Constant(TASK).task is TASK
    with pytest.raises(TypeError, match="lr"):
        Constant(TASK, lr=0.1)


def test_a_batched_learner_is_a_learner():
    assert issubclass(BatchedLearner, Learner)


def test_a_backbone_is_built_by_address_from_the_task_seed():
    def weights(task: TaskSpec, text: str) -> torch.Tensor:
        return task.backbone(text)[1].weight

    first = weights(TASK, "linear[width=7]")
    assert first.shape == (7, 9)
    assert torch.equal(first, weights(TASK, "linear[width=7]"))
    other_seed = dataclasses.replace(TASK, seed=1)
    assert not torch.equal(first, weights(other_seed, "linear[width=7]"))
    assert weights(TASK, "linear").shape == (4, 9)


def test_building_a_backbone_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    TASK.backbone("linear")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("linaer", "unknown backbone 'linaer': did you mean 'linear'"),
        ("linear[with=3]", "unknown parameter of linear 'with': did you mean 'width'"),
        ("linear[width=wide]", "'width' takes int"),
    ],
)
def test_a_wrong_backbone_is_a_usage_error(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        TASK.backbone(text)


def test_generators_of_a_task_draw_the_same_numbers_at_every_call():
    first = torch.rand(5, generator=TASK.generator())
    assert torch.equal(first, torch.rand(5, generator=TASK.generator()))
    other = dataclasses.replace(TASK, seed=1)
    assert not torch.equal(first, torch.rand(5, generator=other.generator()))


@pytest.mark.parametrize("name", ["maml", "meta-sgd", "pixel-1nn", "a", "1nn"])
def test_algorithm_names_are_lower_kebab(name):
    assert Algorithm(name, build=Constant).name == name


@pytest.mark.parametrize("name", ["", "MAML", "meta_sgd", "meta--sgd", "-maml", "maml-", "a b"])
def test_other_algorithm_names_are_usage_errors(name):
    with pytest.raises(UsageError, match="lower-case words joined by hyphens"):
        Algorithm(name, build=Constant)


def test_an_unknown_task_kind_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean 'regression'"):
        Algorithm("a", build=Constant, tasks={"regresion"})


def test_an_algorithm_is_frozen_and_takes_any_iterable_of_tasks_and_tags():
    spec = Algorithm("a", build=Constant, tasks=["regression"], tags=["floor"])
    assert spec.tasks == frozenset({"regression"})
    assert spec.tags == frozenset({"floor"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"


def test_default_budgets_are_not_shared_between_algorithms():
    one, two = Algorithm("one", build=Constant), Algorithm("two", build=Constant)
    assert one.budgets == DEFAULT_BUDGETS
    assert one.budgets is not two.budgets


def test_load_gives_callables_back_and_imports_names():
    build = partial(Constant)
    assert load(build) is build
    assert load("collections:OrderedDict").__name__ == "OrderedDict"
    with pytest.raises(ModuleNotFoundError):
        load("no_such_module:x")


BOTH_KINDS = Algorithm(
    "both",
    build=Constant,
    params={"backbone": "conv4", "lr": 0.1},
    training=TrainingEpisodes(query=5),
    budgets={"smoke": 5, "standard": 50},
    tasks={"classification", "regression"},
    regression=Defaults(
        params={"backbone": "mlp"}, training=TrainingEpisodes(query=10), budgets={"smoke": 7}
    ),
)


def test_what_differs_on_regression_is_put_in_place_there():
    spec = BOTH_KINDS.on("regression")
    assert spec.params == {"backbone": "mlp", "lr": 0.1}
    assert spec.training.query == 10
    assert spec.budgets == {"smoke": 7, "standard": 50}
    assert spec.on("regression") == spec


def test_elsewhere_an_entry_is_unchanged():
    assert BOTH_KINDS.on("classification") is BOTH_KINDS
    plain = Algorithm("plain", build=Constant, params={"lr": 0.1})
    assert plain.on("regression") == plain


def test_wrong_names_in_what_differs_are_usage_errors():
    with pytest.raises(UsageError, match=r"regression parameter of a 'l'.*did you mean 'lr'"):
        Algorithm("a", build=Constant, params={"lr": 0.1}, regression=Defaults(params={"l": 1.0}))
    with pytest.raises(UsageError, match=r"budget of algorithm a 'smok'.*did you mean 'smoke'"):
        Algorithm("a", build=Constant, regression=Defaults(budgets={"smok": 1}))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"params": {"k": None}}, r"parameter 'k' has the default None \(NoneType\), write a bool"),
        ({"params": {"k": (64, 64)}}, r"'k' has the default \(64, 64\) \(tuple\), write a bool"),
        ({"params": {"k": np.zeros(2)}}, r"default .*\(ndarray\), write a bool, int, float"),
        ({"params": {"a,b": 1}}, "parameter name 'a,b' is not a Python identifier"),
        ({"params": ["k"]}, r"params=\['k'\], write a dict"),
        ({"params": {"train_way": 5}}, "parameter 'train_way' is set by metabench: rename it"),
        ({"regression": Defaults(params={"lr": None}), "params": {"lr": 0.1}}, "for regression"),
        ({"tags": "transductive"}, r"tags='transductive', write tags=\{'transductive'\}"),
        ({"tasks": "regression"}, r"tasks='regression', write tasks=\{'regression'\}"),
        ({"budgets": {"smoke": 20.5}}, "budget smoke=20.5, write 1 or more updates"),
        ({"budgets": {"smoke": 0}}, "budget smoke=0, write 1 or more"),
        ({"training": {"way": 5}}, r"training=\{'way': 5\}, write metabench.TrainingEpisodes"),
    ],
)
def test_declarations_that_no_run_could_keep_are_usage_errors(given, complaint):
    with pytest.raises(UsageError, match=complaint):
        Algorithm("a", build=Constant, **given)


def test_a_backbone_has_parameters_of_the_same_types():
    with pytest.raises(UsageError, match=r"backbone b: parameter 'sizes' has the default \[8\]"):
        Backbone("b", build=Constant, params={"sizes": [8]})


def test_a_backbone_may_declare_the_values_that_a_parameter_takes():
    spec = Backbone("b", build=linear, params={"kind": "a", "k": 1}, choices={"kind": ["a", "b"]})
    assert spec.resolve({"kind": "b"}) == {"kind": "b", "k": 1}
    with pytest.raises(UsageError, match="unknown kind of b 'c': known: a, b"):
        spec.resolve({"kind": "c"})
    with pytest.raises(UsageError, match="unknown parameter in choices of b 'kid'"):
        Backbone("b", build=linear, params={"kind": "a"}, choices={"kid": ["a"]})


def test_numbers_of_numpy_are_kept_as_those_of_python():
    training = TrainingEpisodes(way=np.int64(5), shot=np.uint8(1), tasks_per_step=np.int32(2))
    assert training == TrainingEpisodes(way=5, shot=1, tasks_per_step=2)
    spec = Algorithm(
        "a",
        build=Constant,
        tasks={"classification", "regression"},
        budgets={"smoke": np.int64(5)},
        regression=Defaults(budgets={"paper": np.int64(6)}),
    )
    numbers = [*vars(training).values(), *spec.budgets.values()]
    numbers += spec.on("regression").budgets.values()
    assert {type(number) for number in numbers} == {int, type(None)}
    seeded = dataclasses.replace(TASK, seed=np.int64(3)).generator()
    assert seeded.initial_seed() == 3


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"way": True}, "way=True: write 1 or more"),
        ({"way": np.int64(0)}, "way=.*0.*: write 1 or more"),
        ({"way": 0}, "way=0: write 1 or more"),
        ({"shot": -1}, "shot=-1"),
        ({"query": 2.0}, r"query=2\.0"),
        ({"tasks_per_step": None}, "tasks_per_step=None"),
    ],
)
def test_training_episodes_have_at_least_one_of_everything(given, complaint):
    with pytest.raises(UsageError, match=complaint):
        TrainingEpisodes(**given)


def test_a_head_does_not_start_from_the_numbers_that_the_backbone_starts_from():
    task = dataclasses.replace(TASK, input_shape=(1, 20, 20))
    body, head = task.backbone("linear")[1], linear_head(400, 4, task.generator())
    both = torch.stack([body.weight.detach().flatten(), head.weight.detach().flatten()])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.1  # of 1,600 independent numbers


def test_defaults_of_numpy_become_plain() -> None:
    algorithm = Algorithm(
        "a",
        build="module:attr",
        params={"lr": np.float64(0.1), "steps": np.int64(3)},
        training=TrainingEpisodes(shot=np.int64(2)),
        budgets={"smoke": np.int32(9)},
    )
    plain = [*algorithm.params.values(), algorithm.training.shot, algorithm.budgets["smoke"]]
    assert plain == [0.1, 3, 2, 9]
    assert {type(value) for value in plain} == {float, int}
