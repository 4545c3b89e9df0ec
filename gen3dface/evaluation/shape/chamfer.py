"""Chamfer distance and F-score of two surfaces that lie in one frame (Knapitsch et al. 2017 for the latter)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dface.evaluation.shape.closest import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chamfer:
    """Distances in the surfaces' unit."""

    to_truth: float  # mean from the made surface to the true one: what is too much
    from_truth: float  # mean from the true surface to the made one: what is missing
    precision: float  # share of the made surface within the threshold of the true one
    recall: float  # share of the true surface within the threshold of the made one

    @property
    def distance(self) -> float:
        """Mean of both directions."""
        return (self.to_truth + self.from_truth) / 2

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def chamfer(made: Array, truth: Array, made_surface: Surface, true_surface: Surface, threshold: float) -> Chamfer:
    """From points made [N, 3] and truth [M, 3] (as `surface_points` draws them) to the other's surface.

    Points on one side against the surface of the other, not against its points: the distance of a surface to itself is
    then 0, however few points are drawn. threshold: in the surfaces' unit, for precision and recall.
    """
    there, back = true_surface.closest(made).distances, made_surface.closest(truth).distances
    precision, recall = ((d <= threshold).mean() for d in (there, back))
    return Chamfer(float(there.mean()), float(back.mean()), float(precision), float(recall))


def surface_points(vertices: Array, faces: NDArray[np.int64], count: int, seed: int = 0) -> Array:
    """[count, 3] points, evenly distributed over a mesh's area; vertices [V, 3], faces [F, 3]."""
    random = np.random.default_rng(seed)
    corners = np.asarray(vertices, np.float64)[faces]
    edges = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=-1)
    chosen = random.choice(len(faces), count, p=area / area.sum())
    shares = random.random((count, 2))
    shares = np.where(shares.sum(1, keepdims=True) > 1, 1 - shares, shares)  # the square's other half, folded over
    return np.asarray(corners[chosen, 0] + np.einsum("nk,nkd->nd", shares, edges[chosen]))
