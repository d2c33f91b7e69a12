"""Floors: scores that need no learning, from guesses, raw pixels or an untrained network.

`pixel-1nn` is the nearest neighbour rule of Cover and Hart 1967, "Nearest Neighbor Pattern
Classification", IEEE Transactions on Information Theory 13.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from metabench import BatchedLearner, Learner, Support, squared_distances
from metabench_plugins.protonet import Prototypes


class Chance(Learner):
    """A uniform guess for each query; the same image with the same seed gets the same guess.

    A guess depends on its image and the seed alone, not on other queries or their order. For
    regression it predicts zero.
    """

    def adapt(self, support: Support) -> None:
        return None

    def predict(self, state: None, query_x: Tensor) -> Tensor:
        if self.task.kind == "regression":
            return query_x.new_zeros(len(query_x), 1)
        return torch.stack([self._guess(image) for image in query_x.cpu()]).to(query_x)

    def _guess(self, image: Tensor) -> Tensor:
        draw = zlib.crc32(image.numpy().tobytes(), self.task.seed)
        return torch.rand(self.task.way, generator=torch.Generator().manual_seed(draw))


class PixelNearestNeighbour(BatchedLearner):
    """The class of the nearest support image, by squared distance between pixels."""

    def adapt(self, support: Support) -> Support:
        return support

    def predict(self, state: Support, query_x: Tensor) -> Tensor:
        distances = squared_distances(query_x.flatten(2), state.x.flatten(2))  # [T, Q, S]
        label = state.y.unsqueeze(1).expand_as(distances)
        nearest = distances.new_full((*query_x.shape[:2], self.task.way), float("inf"))
        return -nearest.scatter_reduce(2, label, distances, "amin")


class Untrained(Prototypes):
    """Prototypes on a backbone as initialised: the value of its architecture alone."""
