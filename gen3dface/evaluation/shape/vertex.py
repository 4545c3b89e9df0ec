"""The true vertex error: how far corresponding points are apart after alignment.

Distances to the nearest point of the other surface forgive points that slid along it, and may order methods wrongly
(Sariyanidi et al. 2025 found correlations with this error down to 0.41), so where correspondence is known, it counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen3dface.evaluation.shape.alignment import align

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Errors over all points of all heads, pooled; NaN where there are none."""

    median: float
    mean: float
    std: float

    @classmethod
    def of(cls, errors: Array) -> Spread:
        """Of errors [N] in any unit."""
        if not len(errors):
            return cls(float("nan"), float("nan"), float("nan"))
        return cls(float(np.median(errors)), float(errors.mean()), float(errors.std()))


def vertex_errors(points: Array, truth: Array, with_scale: bool = False) -> Array:
    """Distances [N] in the truth's unit between truth [N, 3] and the points [N, 3] that correspond to it, moved onto it
    by least squares: rigidly, or with scale too.

    Raises:
        ValueError: the numbers of points differ, or are fewer than three.
    """
    if points.shape != truth.shape or len(points) < 3:
        raise ValueError(
            f"Vertex errors need as many points as true ones, three or more: {points.shape}, {truth.shape}."
        )
    return np.asarray(np.linalg.norm(align(points, truth, with_scale)(points) - truth, axis=-1))
