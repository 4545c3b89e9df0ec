"""sRGB's transfer function and linear light (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def srgb_to_linear(encoded: NDArray[np.floating]) -> NDArray[np.float32]:
    """Encoded sRGB, any shape, 0..1, to linear light 0..1."""
    encoded = np.asarray(encoded, np.float32)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.float32]:
    """Linear light, any shape, 0..1 (clipped), to encoded sRGB 0..1."""
    linear = np.clip(np.asarray(linear, np.float32), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256, dtype=np.float32) / 255)


def bytes_to_linear(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 sRGB, any shape, to linear light 0..1 by table."""
    return _LINEAR_OF_BYTE[image]


def linear_to_bytes(linear: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Linear light 0..1 (clipped), any shape, to uint8 sRGB, rounded."""
    return (linear_to_srgb(linear) * 255 + 0.5).astype(np.uint8)


def composite(
    image: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.uint8]:
    """image [H,W,3] over a background (sRGB 0..1, default white) with alpha [H,W] 0..1, mixed in linear light."""
    behind = srgb_to_linear(np.array(background))
    mix = alpha[..., None]
    return linear_to_bytes(bytes_to_linear(image) * mix + behind * (1 - mix))
