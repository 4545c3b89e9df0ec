"""A photo's face without its shape: its pixels carried to where the average face's landmarks lie.

The "shape-free patch" of active appearance models (Cootes et al. 1998). What the detector got wrong shows in it: a lid
beside the place of lids, a cheek's edge inside the cheek.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from gen3dface.photo.landmarks import FACE_OVAL, FaceRegion, crop_region

Array = NDArray[np.float64]
SIDE = 96  # px
_POINTS = 468  # of the landmarks: all but the irises
_MARGIN = 1.16  # of the oval, which the true outline may pass


@dataclass(frozen=True)
class Unwrapping:
    """From where in the triangulated landmarks each pixel takes its colour."""

    corners: NDArray[np.int64]  # [SIDE * SIDE, 3] among landmarks and the oval moved outward
    weights: Array  # [SIDE * SIDE, 3] sum 1
    inside: NDArray[np.bool_]  # [SIDE, SIDE]

    @classmethod
    def onto(cls, reference: Array) -> Unwrapping:
        """reference: [478, 3] landmarks of the average head, metres, seen from the front."""
        points = _with_margin(reference[:_POINTS, :2])
        low, high = points.min(0), points.max(0)
        across = ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * (high - low).max()
        x, y = np.meshgrid(across, -across)
        wanted = np.stack([x.ravel(), y.ravel()], 1) + (low + high) / 2
        triangles = Delaunay(points)
        found = triangles.find_simplex(wanted)
        frames = triangles.transform[found]
        weights = np.einsum("nij,nj->ni", frames[:, :2], wanted - frames[:, 2])
        weights = np.column_stack([weights, 1 - weights.sum(1)])
        return cls(triangles.simplices[found].astype(np.int64), weights, (found >= 0).reshape(SIDE, SIDE))

    def __call__(self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Image uint8 [H, W, 3], landmarks [478, 2+] px (pixel centres at +0.5) -> uint8 [SIDE, SIDE, 3], 0 outside."""
        region = FaceRegion.from_landmarks(landmarks.astype(np.float32))
        affine = region.to_picture()
        local = (landmarks[:, :2] - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
        points = _with_margin(local[:_POINTS].astype(np.float64))
        at = (points[self.corners] * self.weights[..., None]).sum(1).reshape(SIDE, SIDE, 2) - 0.5
        x, y = at.transpose(2, 0, 1).astype(np.float32)
        crop = crop_region(image, region)
        face = cv2.remap(crop, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.where(self.inside[..., None], face, 0).astype(np.uint8)


def _with_margin(points: Array) -> Array:
    """[468, 2] landmarks, and the oval's moved outward [468 + 36, 2]."""
    oval = points[list(FACE_OVAL)]
    middle = oval.mean(0)
    return np.concatenate([points, middle + _MARGIN * (oval - middle)])
