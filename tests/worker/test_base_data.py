from __future__ import annotations

import itertools

import torch
from training_materials import digits_material, plan

from metabench.worker.base_data import Base, Meter


def make_base(updates: int | None = None) -> tuple[Base, Meter]:
    meter = Meter(plan(updates=updates), lambda fraction, values: None)
    return Base(digits_material(), meter, "cpu"), meter


def test_everything_at_once() -> None:
    base, meter = make_base()
    material = digits_material()
    assert base.x.shape == (len(material.labels), 1, 8, 8)
    assert base.x.max() == 1
    assert base.classes == 5
    assert torch.equal(base.y, torch.from_numpy(material.labels))
    assert meter.images == len(material.labels)  # reading them counts once


def test_a_split_holds_out_every_tenth_of_each_class() -> None:
    base, _ = make_base()
    train, held_out = base.split(10)
    everything = torch.bincount(base.y)
    assert torch.equal(torch.bincount(held_out.y), everything // 10)
    assert torch.equal(torch.bincount(train.y) + torch.bincount(held_out.y), everything)
    pairs = {image.numpy().tobytes() for image in train.x}
    assert sum(image.numpy().tobytes() in pairs for image in held_out.x) <= 1  # twins in the data


def test_an_epoch_holds_everything_once_and_the_next_is_shuffled_again() -> None:
    base, _ = make_base()
    count = len(base.y)
    batches = list(itertools.islice(base.batches(100), 2 * -(-count // 100)))
    epochs = [torch.cat([y for _, y in part]) for part in (batches[:10], batches[10:])]
    for epoch in epochs:
        assert torch.equal(torch.bincount(epoch), torch.bincount(base.y))
    assert not torch.equal(*epochs)


def test_images_keep_their_labels() -> None:
    base, _ = make_base()
    label_of = {x.numpy().tobytes(): int(y) for x, y in zip(base.x, base.y, strict=True)}
    x, y = next(iter(base.batches(200)))
    assert [label_of[image.numpy().tobytes()] for image in x] == y.tolist()


def test_the_same_seed_gives_the_same_batches() -> None:
    first, second = (next(iter(make_base()[0].batches(50))) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_a_budget_of_tasks_is_not_cut_by_outer_updates() -> None:
    meter = Meter(plan(updates=1, tasks=50), lambda fraction, values: None)
    base = Base(digits_material(), meter, "cpu")
    assert sum(len(x) for x, _ in base.batches(32)) >= 50 * meter.plan.images_per_task
