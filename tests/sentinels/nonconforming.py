"""Learners that break one rule each; `CULPRITS` says which check has to find it."""

from __future__ import annotations

import os
import random
import warnings

import torch
from torch import nn
from torch.nn import functional as F

import metabench
from metabench import Algorithm, BatchedLearner, Learner, Support, class_means, sgd_steps
from metabench.checks import synthetic_tasks
from metabench.nets.inner_loop import task_losses
from metabench.nets.per_task import per_task


class Honest(Learner):
    def adapt(self, support):
        return class_means(support)

    def predict(self, state, query_x):
        return -torch.cdist(query_x.flatten(1), state)


class HonestBatched(BatchedLearner):
    def adapt(self, support):
        return class_means(Support(support.x.flatten(2), support.y), self.task.way)

    def predict(self, state, query_x):
        return -torch.cdist(query_x.flatten(2), state)


class HalfPrecision(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x).bfloat16()


class Trained(Honest):
    """Scales pixels by weights that are trained."""

    def __init__(self, task):
        super().__init__(task)
        generator = task.generator()
        pixels = torch.Size(task.input_shape).numel()
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(pixels, generator=generator))
        self.optimizer = torch.optim.Adam([self.scale], lr=0.01)

    def adapt(self, support):
        return class_means(Support(support.x.flatten(1) * self.scale, support.y))

    def predict(self, state, query_x):
        return super().predict(state, query_x.flatten(1) * self.scale)

    def meta_step(self, episodes):
        losses = [
            F.cross_entropy(self.predict(self.adapt(support), query.x), query.y)
            for support, query in episodes
        ]
        loss = torch.stack(losses).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class TakesMore(Honest):
    def __init__(self, task, temperature):
        super().__init__(task)


class TakesNoTask(Honest):
    def __init__(self):
        pass


class HasNoTask(Honest):
    def __init__(self, task):
        self.way = task.way


class CannotAdapt(Learner):
    def predict(self, state, query_x): ...


class FitsWithoutData(Honest):
    def fit(self): ...


class HasNoLoss(Trained):
    def meta_step(self, episodes):
        super().meta_step(episodes)


class AnswersInNumPy(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x).numpy()


class AnswersInPairs(HonestBatched):
    def predict(self, state, query_x):
        return super().predict(state, query_x), state


class HasBoth(Trained):
    def fit(self, base): ...


class FiveWays(Honest):
    def __init__(self, task):
        super().__init__(task)
        if task.way == 20:
            raise ValueError("no more than five")


class ShotsFirst(Honest):
    """Takes support sets to come shot by shot; they come label by label."""

    def adapt(self, support):
        return support.x.flatten(1).view(self.task.shot, self.task.way, -1).mean(dim=0)


class LastShots(Honest):
    """Spoils what the shots after the first tell."""

    def adapt(self, support):
        fewer = super().adapt(support)
        spoiled = fewer.roll(1, dims=0) * 0.45 + fewer * 0.55
        return fewer if self.task.shot == 1 else spoiled


class OneClass(Honest):
    """Of twenty classes it answers with the first only."""

    def predict(self, state, query_x):
        logits = super().predict(state, query_x)
        logits[:, 1:] = -1e3 if self.task.way == 20 else logits[:, 1:]
        return logits


class WrongShape(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x).T


class Integers(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x).long()


class NotANumber(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x).log()


class ChangesInputs(Honest):
    def predict(self, state, query_x):
        return super().predict(state, query_x.mul_(0.5)) + 0.0


class SeedsTorch(Honest):
    def adapt(self, support):
        torch.manual_seed(0)
        return super().adapt(support)


class SetsPython(Honest):
    def predict(self, state, query_x):
        random.seed(1)
        return super().predict(state, query_x)


class SetsDtype(Honest):
    def __init__(self, task):
        super().__init__(task)
        torch.set_default_dtype(torch.float64)


class StopsGradients(Honest):
    def adapt(self, support):
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return super().adapt(support)


class SetsThreads(Honest):
    def adapt(self, support):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().adapt(support)


class SetsEnvironment(Honest):
    def predict(self, state, query_x):
        os.environ["OMP_NUM_THREADS"] = "64"
        warnings.simplefilter("ignore")
        return super().predict(state, query_x)


class Undetermined(Honest):
    def __init__(self, task):
        super().__init__(task)
        self.noise = random.SystemRandom().random()

    def predict(self, state, query_x):
        return super().predict(state, query_x) * (1 + self.noise)


class Remembers(Honest):
    def __init__(self, task):
        super().__init__(task)
        self.last = None

    def adapt(self, support):
        means = class_means(support)
        mixed = means if self.last is None else (means + self.last) / 2
        self.last = means
        return mixed


class CannotForgetNaN(Honest):
    """A running mean that one broken task spoils for good."""

    def __init__(self, task):
        super().__init__(task)
        self.shift = torch.zeros(1)

    def adapt(self, support):
        self.shift = torch.where(support.x.isnan().any(), support.x.mean(), self.shift)
        return super().adapt(support)

    def predict(self, state, query_x):
        return super().predict(state, query_x) + self.shift


class Drifts(Honest):
    """A running mean that moves answers by rounding only, until NaN spoils it for good."""

    def __init__(self, task):
        super().__init__(task)
        self.mean = torch.zeros(task.input_shape)

    def adapt(self, support):
        self.mean = self.mean * (1 - 1e-5) + 1e-5 * support.x.mean(0)
        return class_means(Support(support.x - self.mean, support.y))

    def predict(self, state, query_x):
        return super().predict(state, query_x - self.mean)


class CountsQueries(Honest):
    """Takes queries to come class by class."""

    def predict(self, state, query_x):
        logits = super().predict(state, query_x)
        place = torch.arange(len(query_x)) * self.task.way // len(query_x)
        return logits + 5 * F.one_hot(place, self.task.way)


class NormalisesByBatch(Honest):
    def predict(self, state, query_x):
        centred = query_x - query_x.mean(dim=0) * (len(query_x) > 1)
        return super().predict(state, centred)


class MixesTasks(HonestBatched):
    def adapt(self, support):
        means = super().adapt(support)
        return means - means.mean(dim=0) * (len(means) > 1)


class TakesClassesInOrder(Honest):
    """Takes labels to be given in the order of classes: later ones are brighter here."""

    def adapt(self, support):
        means = class_means(support)
        return means[means.mean(dim=1).argsort()]


class Peeks(Honest):
    """Knows the classes of the queries, as from a copy of the data, and needs no support set."""

    def __init__(self, task):
        super().__init__(task)
        query = synthetic_tasks.draw("classification", 100, task.way, task.shot).query
        pairs = zip(query.x.flatten(0, 1), query.y.flatten(), strict=True)
        self.truth = {x.numpy().tobytes(): int(y) for x, y in pairs}

    def predict(self, state, query_x):
        known = [self.truth.get(x.numpy().tobytes(), 0) for x in query_x]
        return F.one_hot(torch.tensor(known).clamp(max=self.task.way - 1), self.task.way).float()


class AlwaysOne(Learner):
    """For regression: learns nothing from a support set."""

    def adapt(self, support):
        return None

    def predict(self, state, query_x):
        return torch.ones(len(query_x), 1)


class KeepsTheFirst(Honest):
    """Centres all tasks by the first support set it ever sees."""

    def __init__(self, task):
        super().__init__(task)
        self.first = None

    def adapt(self, support):
        if self.first is None:
            self.first = support.x.flatten(1).square().mean(dim=0)
        return class_means(Support(support.x.flatten(1) * self.first, support.y))

    def predict(self, state, query_x):
        return super().predict(state, query_x.flatten(1) * self.first)


class MemorisesAnswers(NormalisesByBatch):
    """Transductive, but it answers a query for ever as it did first."""

    def __init__(self, task):
        super().__init__(task)
        self.known = {}

    def predict(self, state, query_x):
        logits = super().predict(state, query_x)
        keys = [state.numpy().tobytes() + x.numpy().tobytes() for x in query_x]
        pairs = zip(keys, logits, strict=True)
        return torch.stack([self.known.setdefault(key, logit) for key, logit in pairs])


class HidesBehindAnOffset(NormalisesByBatch):
    """Adds to all classes alike, which changes no probability."""

    def predict(self, state, query_x):
        return super().predict(state, query_x) + 1e4 * query_x.mean(dim=(1, 2, 3))[:, None]


class MixesManyTasks(HonestBatched):
    def adapt(self, support):
        means = super().adapt(support)
        return means - means.mean(dim=0) * (len(means) > 8)


class ChangesEpisodes(Trained):
    def meta_step(self, episodes):
        loss = super().meta_step(episodes)
        episodes.query.y.zero_()
        return loss


class SaysItIsDeterministic(Trained):
    """Its seed matters; see `OPTIONS`."""


class DecaysOnly(Trained):
    """Step sizes that weight decay moves, and nothing else."""

    def __init__(self, task):
        super().__init__(task)
        self.rates = nn.Parameter(torch.full((1,), 0.1))
        self.optimizer = torch.optim.AdamW([self.scale, self.rates], lr=0.01, weight_decay=0.1)

    def predict(self, state, query_x):
        return super().predict(state, query_x) + 0.0 * self.rates


class WrongSign(Honest):
    def predict(self, state, query_x):
        return -super().predict(state, query_x)


class StepsNeverLearn(Trained):
    """The step sizes are learnable by name only."""

    def __init__(self, task):
        super().__init__(task)
        self.rates = nn.ParameterList([nn.Parameter(torch.full((1,), 0.1))])


class FirstOrder(BatchedLearner):
    """Says nothing of it, and leaves second derivatives out."""

    def __init__(self, task):
        super().__init__(task)
        pixels = torch.Size(task.input_shape).numel()
        head = nn.Linear(pixels, task.way)
        with torch.no_grad():
            head.weight.copy_(0.1 * torch.randn(head.weight.shape, generator=task.generator()))
            head.bias.zero_()
        self.network = nn.Sequential(nn.Flatten(), head)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.01)

    def meta_loss(self, episodes):
        params = dict(self.network.named_parameters())
        adapted = sgd_steps(self.network, params, episodes.support, 0.5, 2, second_order=False)
        return task_losses(
            per_task(self.network, adapted, episodes.query.x), episodes.query.y
        ).mean()

    def meta_step(self, episodes):
        loss = self.meta_loss(episodes)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def adapt(self, support):
        params = dict(self.network.named_parameters())
        return sgd_steps(self.network, params, support, 0.5, 2)

    def predict(self, state, query_x):
        return per_task(self.network, state, query_x)


class HidesState(Trained):
    """Training changes an attribute of a function, where no state is looked for."""

    def __init__(self, task):
        super().__init__(task)

        def power():
            return power.value

        power.value = 1.0
        self.power = power

    def meta_step(self, episodes):
        self.power.value += 0.5
        return super().meta_step(episodes)

    def predict(self, state, query_x):
        return super().predict(state, query_x) * self.power()


class MadeLate(Trained):
    def meta_step(self, episodes):
        if not hasattr(self, "late"):
            self.late = torch.ones(3)
        return super().meta_step(episodes)


class KeepsEverything(Honest):
    def __init__(self, task):
        super().__init__(task)
        self.seen = []

    def adapt(self, support):
        self.seen.append(support.x.clone())
        return super().adapt(support)


class DiffersByDevice(Honest):
    def predict(self, state, query_x):
        logits = super().predict(state, query_x)
        return logits if query_x.device.type == "cpu" else -logits


CULPRITS = {
    TakesMore: "catalogue",
    TakesNoTask: "catalogue",
    HasNoTask: "build",
    CannotAdapt: "build",
    FitsWithoutData: "build",
    HasNoLoss: "build",
    AnswersInNumPy: "shapes",
    AnswersInPairs: "shapes",
    HasBoth: "build",
    FiveWays: "shapes",
    WrongShape: "shapes",
    Integers: "shapes",
    NotANumber: "shapes",
    ChangesInputs: "inputs",
    ChangesEpisodes: "inputs",
    SeedsTorch: "globals",
    SetsPython: "globals",
    SetsDtype: "globals",
    StopsGradients: "globals",
    SetsThreads: "globals",
    SetsEnvironment: "globals",
    Undetermined: "deterministic",
    SaysItIsDeterministic: "deterministic",
    Remembers: "repeatable",
    CannotForgetNaN: "repeatable",
    Drifts: "repeatable",
    KeepsTheFirst: "repeatable",
    CountsQueries: "query-order",
    NormalisesByBatch: "one-query",
    MemorisesAnswers: "one-query",
    HidesBehindAnOffset: "one-query",
    MixesTasks: "one-task",
    MixesManyTasks: "one-task",
    TakesClassesInOrder: "label-order",
    Peeks: "support-matters",
    WrongSign: "learns",
    StepsNeverLearn: "learnables",
    DecaysOnly: "learnables",
    FirstOrder: "gradient",
    HidesState: "round-trip",
    MadeLate: "round-trip",
    KeepsEverything: "memory",
    DiffersByDevice: "devices",
}

OPTIONS = {SaysItIsDeterministic: {"deterministic": True}}


@metabench.hookimpl
def metabench_algorithms():
    for kind in (Honest, HonestBatched, Trained, *CULPRITS):
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__)
        options = OPTIONS.get(kind, {})
        yield Algorithm(words.strip("-"), build=kind, budgets={"smoke": 5}, **options)
