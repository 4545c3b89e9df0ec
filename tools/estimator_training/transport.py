"""What the detector would have said of another person in the same picture.

The training pictures show OpenHead's own population, far more varied in some ways than people and less in others. A
linear model of landmarks and expression weights by identity (and its products with the viewing direction) carries each
picture over to an identity drawn from the population that is believed in; what the model does not explain, the
detector's own errors among it, stays with the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_PENALTY = 0.02  # times the number of pictures; all inputs have about unit variance


@dataclass(frozen=True)
class Transport:
    """observations = [z, view_x z, view_y z] @ slopes + whatever does not depend on identity."""

    slopes: Array  # [3 K, D]

    @classmethod
    def learn(cls, identity: Array, view: Array, observations: Array) -> Transport:
        """identity [N, K] ~ N(0, 1), view [N, 2] -1..1, observations [N, D]."""
        count, size = len(identity), 3 * identity.shape[1]
        inputs = np.concatenate([_products(identity, view), np.ones((count, 1)), view, view**2], 1)
        penalty = np.full(inputs.shape[1], _PENALTY * count)
        penalty[size:] = 0
        # views span about +-0.7, their products with identity correspondingly less than unit variance
        penalty[identity.shape[1] : size] *= float(np.mean(view**2))
        slopes = np.linalg.solve(inputs.T @ inputs + np.diag(penalty), inputs.T @ observations)
        return cls(slopes[:size])

    def __call__(self, observations: Array, view: Array, identity: Array, other: Array) -> Array:
        """Observations [N, D] of `identity` [N, K] as they would be of `other` [N, K]."""
        return observations + _products(other - identity, view) @ self.slopes


def _products(identity: Array, view: Array) -> Array:
    return np.concatenate([identity, view[:, :1] * identity, view[:, 1:] * identity], 1)
