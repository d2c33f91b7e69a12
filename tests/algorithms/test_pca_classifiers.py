from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from torch import Tensor
from training_materials import digits_material, open_digits, plan

from metabench import Learner, Support
from metabench.suites.training_data import TrainingData
from metabench.worker.meta_training import meta_train


def digits_episode(way: int, shot: int) -> tuple[Support, Tensor]:
    """One episode of digits, classes from 5 on."""
    dataset = open_digits().dataset
    images = torch.from_numpy(dataset.images / np.float32(255))
    members = np.stack([dataset.images_of[5 + c][: shot + 15] for c in range(way)])
    x = images[torch.from_numpy(members[:, :shot].flatten())]
    query = images[torch.from_numpy(members[:, shot:].flatten())]
    return Support(x, torch.arange(way).repeat_interleave(shot)), query


def by_hand(
    classifier: ClassifierMixin, support: Support, query: Tensor, components: int
) -> np.ndarray:
    """The same in scikit-learn, as its user would write it."""
    base = digits_material().images.reshape(-1, 64) / 255.0
    pca = PCA(components, svd_solver="full").fit(base)
    classifier.fit(pca.transform(support.x.flatten(1).numpy()), support.y.numpy())
    scores: np.ndarray = classifier.decision_function(pca.transform(query.flatten(1).numpy()))
    return scores


@pytest.mark.parametrize(("way", "shot"), [(5, 1), (5, 5), (3, 2)])
@pytest.mark.parametrize("components", [50, 10])
def test_pca_lr_equals_scikit_learn(way: int, shot: int, components: int, trained: Any) -> None:
    learner = trained("pca-lr", way=way, shot=shot, components=components)
    support, query = digits_episode(way, shot)
    logits = learner.predict(learner.adapt(support), query)
    classifier = LogisticRegression(C=1.0, max_iter=1000)
    expected = by_hand(classifier, support, query, components)
    assert np.allclose(logits.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("contrast", [1.0, 0.05])
def test_components_are_exact_however_little_images_vary(build: Any, contrast: float) -> None:
    """Against a decomposition in float64; float32 would lose the digits that tell images apart."""
    material = digits_material()
    faint = np.rint(200 + contrast * material.images.astype(float) / 5).astype(np.uint8)
    learner = build("pca-lr", components=10)
    meta_train(learner, dataclasses.replace(material, images=faint), plan(), lambda *_: None)
    pixels = faint.reshape(-1, 64).astype(float) / 255
    _, _, rows = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    expected = (pixels - pixels.mean(axis=0)) @ rows[:10].T
    found = learner.features(torch.from_numpy(pixels).float())
    # The signs of components are free: inner products of features are not.
    gram = expected @ expected.T
    assert np.abs(found @ found.T - gram).max() < 1e-4 * np.abs(gram).max()


def test_sgd_equals_scikit_learn(trained: Any) -> None:
    learner = trained("sgd", seed=7, components=20, alpha=1e-3)
    support, query = digits_episode(5, 5)
    logits = learner.predict(learner.adapt(support), query)
    classifier = SGDClassifier(loss="log_loss", alpha=1e-3, random_state=7)
    expected = by_hand(classifier, support, query, 20)
    assert np.allclose(logits.numpy(), expected, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["pca-lr", "sgd"])
def test_two_classes_have_two_logits_as_probable_as_scikit_learn_says(
    name: str, trained: Any
) -> None:
    learner = trained(name, way=2, shot=3)
    support, query = digits_episode(2, 3)
    model = learner.adapt(support)
    logits = learner.predict(model, query)
    assert logits.shape == (30, 2)
    expected = model.predict_proba(learner.features(query))
    assert np.allclose(logits.softmax(1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["pca-lr", "sgd"])
def test_novel_digits_are_distinguished(name: str, trained: Any) -> None:
    learner = trained(name, shot=5)
    support, query = digits_episode(5, 5)
    guesses = learner.predict(learner.adapt(support), query).argmax(1)
    right = (guesses == torch.arange(5).repeat_interleave(15)).float().mean()
    assert right > 0.7


def test_parameters_reach_the_classifier(build: Any) -> None:
    assert build("pca-lr", C=0.25, max_iter=7).classifier().C == 0.25
    assert build("pca-lr", max_iter=7).classifier().max_iter == 7
    sgd = build("sgd", alpha=0.5, max_iter=9, seed=4).classifier()
    assert (sgd.alpha, sgd.max_iter, sgd.random_state) == (0.5, 9, 4)


def fit_on(images: int, learner: Learner) -> None:
    material = digits_material()
    small = dataclasses.replace(
        material, images=material.images[:images], labels=material.labels[:images]
    )
    assert isinstance(small, TrainingData)
    meta_train(learner, small, plan(), lambda fraction, values: None)


def test_few_base_images_give_as_many_components_as_there_are(build: Any) -> None:
    learner = build("pca-lr")
    fit_on(6, learner)
    support, query = digits_episode(5, 1)
    features = learner.features(query)
    assert features.shape == (75, 50)
    assert (features[:, 6:] == 0).all()
    assert learner.predict(learner.adapt(support), query).isfinite().all()


def test_components_are_at_most_the_pixels(build: Any) -> None:
    learner = build("pca-lr", components=500)
    fit_on(200, learner)
    assert learner.components.shape == (64, 64)


def test_features_do_not_depend_on_the_seed(trained: Any) -> None:
    one, two = (trained("pca-lr", seed=seed) for seed in (0, 1))
    assert torch.equal(one.components, two.components)
