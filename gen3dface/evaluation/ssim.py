"""SSIM (Wang et al. 2004) by scikit-image, as Morphable Diffusion measures it: on bytes, the mean over the colours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

_SMALLEST = 7  # px a side: the window


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """[B] of pictures [B, 3, H, W] in 0..1 sRGB, 1 for equal ones.

    A window of 7 px with equal weights, rounded to bytes before.

    Raises:
        ValueError: the pictures differ in size, or are smaller than the window.
    """
    if first.shape != second.shape or min(first.shape[-2:]) < _SMALLEST:
        raise ValueError(f"SSIM compares pictures of one size, 7 px or more, got {first.shape}, {second.shape}.")
    pairs = zip(_bytes(first), _bytes(second), strict=True)
    return torch.tensor([float(structural_similarity(a, b, channel_axis=2)) for a, b in pairs])


def _bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """[B, H, W, 3]."""
    rounded = pictures.detach().float().clamp(0, 1).mul(255).round().byte()
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())
