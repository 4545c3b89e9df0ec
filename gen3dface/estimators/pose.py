"""Camera pose: a closed-form start, and the rotation helpers that the fit needs. OpenCV axes, float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.errors import EstimationError

Array = NDArray[np.float64]


def weak_perspective_pose(points: Array, pixels: Array, weights: Array) -> tuple[Array, float, Array]:
    """Scaled orthography from correspondences (DeMenthon & Davis 1995, POS), weighted least squares.

    Args:
        points: [L, 3] head frame. pixels: [L, 2], y down. weights: [L] >= 0.

    Returns:
        rotation [3, 3] head to camera, scale in px per metre, and where the head's origin falls [2] px.
    """
    root = np.sqrt(weights)[:, None]
    design = np.column_stack([points, np.ones(len(points))]) * root
    solution, _, rank, _ = np.linalg.lstsq(design, pixels * root, rcond=None)
    linear = solution[:3].T  # [2, 3]: scale times the first two rows of the rotation, up to noise
    if rank < 4 or not np.isfinite(linear).all():
        raise EstimationError("The landmarks lie in one plane or are not numbers; no pose follows from them.")
    left, scales, right = np.linalg.svd(linear, full_matrices=False)
    if scales[1] * np.ptp(points, 0).max() < 1:
        raise EstimationError("The landmarks fall on one spot or line of the picture; no pose follows from them.")
    rows = left @ right
    return np.vstack([rows, np.cross(rows[0], rows[1])]), float(scales.mean()), solution[3]


def perspective_start(scale: float, origin: Array, focal: float) -> Array:
    """Translation [3] that sees the head's origin at `origin` (px from the principal point) at that scale."""
    depth = focal / scale
    return np.array([origin[0] * depth / focal, origin[1] * depth / focal, depth])


def turn(rotation: Array, step: Array) -> Array:
    """exp([step]x) rotation."""
    return Rotation.from_rotvec(step).as_matrix() @ rotation


def skew(vectors: Array) -> Array:
    """[.., 3] -> [.., 3, 3] with skew(a) b = a x b."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
