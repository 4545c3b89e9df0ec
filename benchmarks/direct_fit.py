"""OpenHead's coefficients for a head of known shape: what the model could do at best."""

from __future__ import annotations

import numpy as np
from correspondence import Correspondence
from numpy.typing import NDArray

from gen3dface.evaluation.shape.alignment import align
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

    def linear(self, offsets: Array) -> tuple[Array, Array]:
        """To first order, rigid motion being free: identity [N, K] for displacements [N, M, 3] from OpenHead's mean,
        and what is left of these [N, M, 3]."""
        modes = _motions(self._mean)
        basis, flat = (rows - (rows @ modes.T) @ modes for rows in (self._basis, offsets.reshape(len(offsets), -1)))
        system = basis @ basis.T + self.weight * np.eye(len(basis))
        identity = np.linalg.solve(system, basis @ flat.T).T
        return identity, (flat - identity @ basis).reshape(offsets.shape)

    def uncertainty(self) -> Array:
        """[K, K] covariance left by the fit: near 0 where the points settle a coefficient, 1 where they do not."""
        return self.weight * np.linalg.inv(self._system)


def _motions(points: Array) -> Array:
    """[6, 3 M] orthonormal: turns and shifts of points [M, 3]."""
    centred = points - points.mean(0)
    turns = [np.cross(axis, centred) for axis in np.eye(3)]
    shifts = [np.broadcast_to(axis, points.shape) for axis in np.eye(3)]
    return np.linalg.qr(np.stack([*turns, *shifts]).reshape(6, -1).T)[0].T
