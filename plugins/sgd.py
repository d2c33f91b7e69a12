"""A linear classifier trained by stochastic gradient descent on principal components.

Bottou 2010, "Large-Scale Machine Learning with Stochastic Gradient Descent", COMPSTAT;
as scikit-learn's `SGDClassifier` implements it.
"""

from __future__ import annotations

from sklearn.linear_model import SGDClassifier

from metabench import TaskSpec
from metabench_plugins.pca import PcaLearner


class Sgd(PcaLearner):
    """PCA on base images, then one-vs-rest logistic regression by SGD on each support set."""

    def __init__(
        self,
        task: TaskSpec,
        components: int = 50,
        alpha: float = 1e-4,
        max_iter: int = 1000,
    ) -> None:
        super().__init__(task, components)
        self.alpha = alpha
        self.max_iter = max_iter

    def classifier(self) -> SGDClassifier:
        return SGDClassifier(
            loss="log_loss", alpha=self.alpha, max_iter=self.max_iter, random_state=self.task.seed
        )
