"""How near made views come to true ones, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, where

Array = NDArray[np.float64]
AZIMUTH_BINS = ((0.0, 45.0), (45.0, 90.0), (90.0, 180.0))  # degrees from the front; the upper end belongs to the bin


def psnr(first: Tensor, second: Tensor) -> Array:
    """dB [N] of pictures [N, 3, H, W] in 0..1, over the whole picture, at most 100."""
    error = (first - second).square().mean((1, 2, 3)).clamp(min=1e-10)
    return (-10 * error.log10()).double().numpy()


def mask_iou(first: Tensor, second: Tensor) -> Array:
    """Intersection over union [N] of masks [N, 1, H, W], cut at half coverage; 1 where both are empty."""
    a, b = first > 0.5, second > 0.5
    both, either = (a & b).sum((1, 2, 3)), (a | b).sum((1, 2, 3))
    return where(either > 0, both / either.clamp(min=1), 1.0).double().numpy()
