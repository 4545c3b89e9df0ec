"""The pictures that other projects' networks were trained on, cut from a portrait as they cut them.

Their crops take pixels bilinearly at the places that a similarity gives, without smoothing before; outside the photo
is black. A pixel's number is its place: pixel (0, 0) of a crop of n px lies at the square's corner and pixel
(n - 1, n - 1) at the opposite one, with coordinates of landmarks taken for numbers of pixels. So here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import EstimationError
from gen3dface.photo.landmarks import FIVE_POINTS

Array = NDArray[np.float64]

FLAME_CROP, ARCFACE_CROP = 224, 112  # px

# The outline of the 68 landmarks of iBUG 300-W, which DECA's box is drawn around: jaw from ear to ear, and brows.
JAW = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
OUTLINE_68 = (*JAW, *BROWS)

_DECA_SCALE, _DECA_68 = 1.25, 1.1  # of the box's mean side, and once more for a box of 68 landmarks
_SMIRK_SCALE = 1.4
# InsightFace's places (px of 112) of right and left eye, nose tip, right and left mouth corner
_ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


@dataclass(frozen=True)
class Crop:
    """pixel = linear @ place + offset, from a photo's coordinates to those of a square of `side` px."""

    linear: Array  # [2, 2] a similarity
    offset: Array  # [2] px of the crop
    side: int

    @classmethod
    def square(cls, corner: Array, size: float, side: int = FLAME_CROP) -> Crop:
        """An upright square: corner [2] and size in px of the photo."""
        linear = np.eye(2) * ((side - 1) / size)
        return cls(linear, -linear @ corner, side)

    @property
    def scale(self) -> float:
        """Pixels of the crop a pixel of the photo."""
        return float(np.sqrt(abs(np.linalg.det(self.linear))))

    def in_photo(self, pixels: Array) -> Array:
        """[..., 2] px of the crop -> px of the photo."""
        return np.asarray(np.linalg.solve(self.linear, (pixels - self.offset)[..., None])[..., 0], np.float64)

    def cut(self, image: NDArray[np.uint8]) -> Tensor:
        """image [H, W, 3] -> float32 [3, side, side] in 0..255."""
        height, width = image.shape[:2]
        rows, columns = np.mgrid[: self.side, : self.side]
        places = self.in_photo(np.stack([columns, rows], -1).astype(np.float64))
        grid = torch.from_numpy(places * 2 / np.array([max(width - 1, 1), max(height - 1, 1)]) - 1).double()
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).double()
        return F.grid_sample(pixels[None], grid[None], align_corners=True)[0].float()


def deca_crop(landmarks: NDArray[np.float32]) -> Crop:
    """Around the outline of the 68 landmarks: a side of 1.25 x 1.1 times the box's mean side, whole pixels.

    landmarks: [478, 2 or 3] px.
    """
    return _around(landmarks[list(OUTLINE_68)], _DECA_SCALE * _DECA_68)


def smirk_crop(landmarks: NDArray[np.float32]) -> Crop:
    """Around all landmarks [478, 2 or 3] px: a side of 1.4 times the box's mean side, whole pixels."""
    return _around(landmarks, _SMIRK_SCALE)


def arcface_crop(landmarks: NDArray[np.float32]) -> Crop:
    """The similarity (Umeyama, 1991) of eyes, nose tip and mouth corners to their standard places.

    landmarks: [478, 2 or 3] px. The eyes are the irises' middles.
    """
    source, target = landmarks[list(FIVE_POINTS), :2].astype(np.float64), np.array(_ARCFACE)
    a, b = source.mean(0), target.mean(0)
    spread = ((source - a) ** 2).sum()
    if not spread > 0:
        raise EstimationError("Eyes, nose and mouth fall on one spot of the picture; no face can be cut out.")
    left, values, right = np.linalg.svd((target - b).T @ (source - a))
    signs = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    linear = (left * signs) @ right * ((values * signs).sum() / spread)
    return Crop(linear, b - linear @ a, ARCFACE_CROP)


def _around(points: NDArray[np.float32], scale: float) -> Crop:
    low, high = points[:, :2].astype(np.float64).min(0), points[:, :2].astype(np.float64).max(0)
    mean_side = (high - low).mean()
    size = int(mean_side * scale) if np.isfinite(mean_side) else 0
    if size < 1:
        raise EstimationError("The landmarks fall on one spot of the picture or are not numbers; no face can be cut.")
    return Crop.square((low + high) / 2 - size / 2, float(size))
