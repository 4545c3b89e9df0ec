"""Guided upsampling: a small matte follows the edges of the full-resolution picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def guided_upsample(
    matte: NDArray[np.float32], image: NDArray[np.uint8], radius: int = 2, epsilon: float = 1e-4
) -> NDArray[np.float32]:
    """matte [h,w] 0..1 at the size of image uint8 [H,W,3], 0..1.

    The fast guided filter with a colour guide (He and Sun 2015): in each window of the small picture the matte is an
    affine function of the colour, a . rgb + b, in least squares with a ridge of epsilon (colours 0..1); its
    coefficients, smooth, are what is enlarged. radius in px of the small picture.
    """
    small_size, full_size = matte.shape[::-1], image.shape[1::-1]
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
    slope, offset = _local_affine(small / np.float32(255), matte, radius, epsilon)
    full_slope = cv2.resize(slope, full_size, interpolation=cv2.INTER_LINEAR)
    full_offset = cv2.resize(offset, full_size, interpolation=cv2.INTER_LINEAR)
    guided = np.einsum("hwc,hwc->hw", full_slope, image.astype(np.float32)) / 255 + full_offset
    return np.clip(guided, 0, 1).astype(np.float32)


def _local_affine(
    guide: NDArray[np.floating], matte: NDArray[np.float32], radius: int, epsilon: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Slope [h,w,3] and offset [h,w] of matte over guide [h,w,3] in each window, averaged over the windows."""
    mean, mean_matte = _box(guide, radius), _box(matte, radius)
    covariance = _box(guide * matte[..., None], radius) - mean * mean_matte[..., None]
    products = np.reshape(guide[..., :, None] * guide[..., None, :], (*matte.shape, 9))
    spread = _box(products, radius).reshape(*matte.shape, 3, 3) - mean[..., :, None] * mean[..., None, :]
    spread += epsilon * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0]
    offset = mean_matte - np.einsum("hwc,hwc->hw", slope, mean)
    return _box(slope, radius), _box(offset, radius)


def _box(values: NDArray[np.floating], radius: int) -> NDArray[np.float32]:
    size = (2 * radius + 1, 2 * radius + 1)
    # OpenCV filters at most four channels with an accumulator of its own; blocks keep it there.
    if values.ndim == 3 and values.shape[2] > 4:
        blocks = [cv2.blur(values[..., i : i + 3], size) for i in range(0, values.shape[2], 3)]
        return np.asarray(np.dstack(blocks), np.float32)
    return np.asarray(cv2.blur(values, size), np.float32)
