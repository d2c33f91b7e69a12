"""Logistic regression on principal components of the base images.

Pedregosa et al. 2011, "Scikit-learn: Machine Learning in Python", JMLR 12, 2825-2830.
"""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression

from metabench import TaskSpec
from metabench_plugins.pca import PcaLearner


class PcaLr(PcaLearner):
    """PCA on base images, then multinomial logistic regression on each support set."""

    def __init__(
        self,
        task: TaskSpec,
        components: int = 50,
        C: float = 1.0,  # noqa: N803, scikit-learn's name for it
        max_iter: int = 1000,
    ) -> None:
        super().__init__(task, components)
        self.C = C
        self.max_iter = max_iter

    def classifier(self) -> LogisticRegression:
        return LogisticRegression(C=self.C, max_iter=self.max_iter)
