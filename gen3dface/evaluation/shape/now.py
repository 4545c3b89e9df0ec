"""The NoW challenge's error of a neutral face against a scan (Sanyal et al., CVPR 2019).

The scan is cropped to a sphere around the face; seven landmarks give the first alignment, which is then refined by
the distance from scan points to the mesh. Non-metrical: scale, rotation, translation. Metrical: without scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dface.evaluation.shape.alignment import Similarity, align
from gen3dface.evaluation.shape.closest import Surface

Array = NDArray[np.float64]
# Outer and inner corner of the right eye, inner and outer of the left, nose bottom, right and left mouth corner:
# 36, 39, 42, 45, 33, 48, 54 of the 68 points, by MediaPipe's numbers.
SEVEN = [33, 133, 362, 263, 2, 61, 291]
_BRIDGE, _NOSE_BOTTOM = 168, 2
_ROUNDS = 60
_REFINE_POINTS = 600


def crop(points: Array, landmarks: Array) -> NDArray[np.bool_]:
    """[N] which scan points [N, 3] count, from the scan's landmarks [478, 3]."""
    bottom, bridge = landmarks[_NOSE_BOTTOM], landmarks[_BRIDGE]
    centre = bottom + 0.3 * (bridge - bottom)
    eyes = np.linalg.norm(landmarks[SEVEN[0]] - landmarks[SEVEN[3]])
    radius = 1.4 * (eyes + np.linalg.norm(bridge - bottom)) / 2
    return np.linalg.norm(points - centre, axis=-1) <= radius


def scan_to_mesh(
    scan: Array,
    scan_landmarks: Array,
    vertices: Array,
    faces: NDArray[np.int64],
    landmarks: Array,
    metrical: bool,
) -> Array:
    """Distances of the scan's points [N, 3] (already cropped) to the aligned mesh, in the scan's unit.

    scan_landmarks, landmarks: [478, 3] of scan and mesh.
    """
    start = align(scan_landmarks[SEVEN], landmarks[SEVEN], with_scale=not metrical)
    surface = Surface(vertices, faces)
    fitted = _refine(scan[:: max(len(scan) // _REFINE_POINTS, 1)], surface, start, metrical)
    return surface.closest(fitted(scan)).distances / fitted.scale


def _refine(scan: Array, surface: Surface, motion: Similarity, metrical: bool) -> Similarity:
    """Move the scan over the mesh until the sum of squared distances stops falling; distances in the scan's unit."""
    before = np.inf
    for _ in range(_ROUNDS):
        found = surface.closest(motion(scan))
        now = float((found.distances**2).sum()) / motion.scale**2
        if now > before * (1 - 1e-4):
            break
        before = now
        motion = _measured_in_scan(scan, found.points, metrical)
    return motion


def _measured_in_scan(scan: Array, targets: Array, metrical: bool) -> Similarity:
    """The motion whose residual, seen in the scan's unit, is least: a smaller scan must not look like a better fit."""
    inverse = align(targets, scan, with_scale=not metrical)
    scale = 1 / inverse.scale
    return Similarity(inverse.rotation.T, -scale * inverse.rotation.T @ inverse.translation, scale)
