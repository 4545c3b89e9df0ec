"""Rigid and similarity alignment of corresponding points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """x -> scale R x + t."""

    rotation: Array  # [3, 3]
    translation: Array  # [3]
    scale: float = 1.0

    def __call__(self, points: Array) -> Array:
        return self.scale * points @ self.rotation.T + self.translation


def align(source: Array, target: Array, with_scale: bool = False, weights: Array | None = None) -> Similarity:
    """The least-squares motion of source [N, 3] onto target [N, 3] (Umeyama 1991); weights [N], default equal."""
    w = np.full(len(source), 1.0) if weights is None else weights
    a, b = (np.average(points, axis=0, weights=w) for points in (source, target))
    left, values, right = np.linalg.svd((target - b).T @ ((source - a) * w[:, None]))
    sign = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = float((values * sign).sum() / (w @ ((source - a) ** 2).sum(1))) if with_scale else 1.0
    return Similarity(rotation, b - scale * rotation @ a, scale)
