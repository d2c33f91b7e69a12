"""Principal components of base images, with a scikit-learn classifier on each support set."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from threadpoolctl import ThreadpoolController
from torch import Tensor

from metabench import BaseData, Learner, Support, TaskSpec

# Support sets are small. NumPy's threads would compete with torch's, which keep a core busy while
# they wait for the next features: that doubles the time a task takes.
_POOLS = ThreadpoolController()


class PcaLearner(Learner):
    """The common part of `pca-lr` and `sgd`, which differ only in their classifiers.

    Features are zero until `fit`, and beyond the components that the base images have.
    """

    def __init__(self, task: TaskSpec, components: int) -> None:
        super().__init__(task)
        pixels = math.prod(task.input_shape)
        self.mean = torch.zeros(pixels)
        self.components = torch.zeros(min(components, pixels), pixels)

    @abstractmethod
    def classifier(self) -> Any:
        """Return a new, untrained scikit-learn classifier."""

    def fit(self, base: BaseData) -> None:
        images = base.x.flatten(1).cpu()
        # The covariance is computed as X'X - n m m', which loses the digits of float32 if images
        # vary little around their mean m, so the mean is subtracted first.
        self.mean = images.mean(dim=0, dtype=torch.float64).float()
        count = min(len(images), len(self.components))
        pca = PCA(count, svd_solver="covariance_eigh")  # exact: it draws no random numbers
        pca.fit((images - self.mean).numpy())
        self.mean += torch.from_numpy(pca.mean_)
        self.components[:count] = torch.from_numpy(pca.components_)

    def features(self, x: Tensor) -> np.ndarray:
        """Return the principal components [N, components], float64, of images [N, *shape]."""
        pixels = x.flatten(1).cpu().double()
        return ((pixels - self.mean) @ self.components.double().T).numpy()

    def adapt(self, support: Support) -> Any:
        features, labels = self.features(support.x), support.y.cpu().numpy()
        with _POOLS.limit(limits=1, user_api="blas"):
            return self.classifier().fit(features, labels)

    def predict(self, state: Any, query_x: Tensor) -> Tensor:
        features = self.features(query_x)
        with _POOLS.limit(limits=1, user_api="blas"):
            scores = state.decision_function(features)
        if scores.ndim == 1:  # of two classes, scikit-learn scores only the second
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        return torch.from_numpy(scores).to(query_x)
