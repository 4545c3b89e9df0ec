"""The photo as tokens for cross-attention: CLIP's preprocessing, and the encoder's embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen3dface.models.photo_encoder import PhotoEncoder, PhotoFeatures

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(images: Tensor, size: int = 224) -> Tensor:
    """Square pictures [B, 3, S, S] in 0..1 as CLIP wants them, [B, 3, size, size] float32.

    Rounded to 8 bits, resized by Pillow's bicubic filter, normalised: what CLIP's own preprocessing does.
    """
    mean, std = torch.tensor(_MEAN)[:, None, None], torch.tensor(_STD)[:, None, None]
    bytes_ = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    small = [Image.fromarray(b).resize((size, size), Image.Resampling.BICUBIC) for b in bytes_]
    pixels = torch.from_numpy(np.stack([np.asarray(s) for s in small])).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - mean) / std


def encode_photo(encoder: Any, images: Tensor, alpha: Tensor, device: Any, dtype: torch.dtype) -> PhotoFeatures:
    """Tokens [B, T, E], and features [B, C, h, h] if the encoder gives them.

    Args:
        encoder: a `PhotoEncoder`, or a CLIP model whose projected embedding becomes one token.
        images: [B, 3, S, S] in 0..1 over white. alpha: [B, 1, S, S] in 0..1. device, dtype: to encode on and in.
    """
    if isinstance(encoder, PhotoEncoder):
        pictures = torch.cat([2 * images - 1, 2 * alpha - 1], 1)[:, : encoder.config["in_channels"]]
        return encoder(pictures.to(device, dtype))
    pixels = clip_pixels(images, encoder.config.image_size).to(device, dtype)
    return PhotoFeatures(encoder(pixels).image_embeds[:, None], None)
