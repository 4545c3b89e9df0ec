"""OpenHead's coefficients for a head of known shape: what the model could do at best."""

from __future__ import annotations

import numpy as np
from alignment import align
from correspondence import Correspondence
from numpy.typing import NDArray

from gen3dface.heads import HeadModel

Array = NDArray[np.float64]
_ROUNDS = 15


class DirectFit:
    """Rigid alignment and ridge regression on all corresponding points, by turns; true size is kept.

    weight: square metres, the pull toward the mean: N(0, 1) coefficients seen through points with this variance.
    """

    def __init__(self, model: HeadModel, pairs: Correspondence, weight: float = 3e-5) -> None:
        faces, basis = model.faces.numpy(), model.identity_basis.numpy().astype(np.float64)
        self.pairs, self.weight = pairs, weight
        self._mean = pairs.gather(model.template.numpy().astype(np.float64), faces)
        self._basis = np.stack([pairs.gather(offsets, faces).ravel() for offsets in basis])
        self._system = self._basis @ self._basis.T + weight * np.eye(len(basis))

    def __call__(self, vertices: Array) -> Array:
        """Identity [K] for the other topology's vertices [V, 3], metres."""
        truth, identity = vertices[self.pairs.vertices], np.zeros(len(self._basis))
        for _ in range(_ROUNDS):
            target = align(truth, self._mean + (identity @ self._basis).reshape(-1, 3))(truth)
            identity = np.linalg.solve(self._system, self._basis @ (target - self._mean).ravel())
        return identity

    def uncertainty(self) -> Array:
        """[K, K] covariance left by the fit: near 0 where the points settle a coefficient, 1 where they do not."""
        return self.weight * np.linalg.inv(self._system)
