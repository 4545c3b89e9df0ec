"""The photo as the network sees it: a square around the head, over white, with the camera of that square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import CameraError
from gen3dface.photo import Portrait
from gen3dface.photo.colour import composite
from gen3dface.photo.trust import trusted_matte

_SMALLEST = 16  # px of the photo that a crop must span


@dataclass(frozen=True)
class PhotoCrop:
    """A square picture of a head and the camera that took it."""

    image: Tensor  # [3, S, S] sRGB in 0..1, over white by the matte
    alpha: Tensor  # [1, S, S] in 0..1, the matte
    trusted: Tensor  # [1, S, S] in 0..1, the matte drawn in, where pixels can be laid on the head
    camera: Cameras  # N = 1, S x S px


def crop_photo(portrait: Portrait, camera: Cameras, size: int, side: float = 0.4) -> PhotoCrop:
    """Cut the square that holds `side` metres at the head's depth, centred on the head's centre.

    Where the photo ends within the square, it is white and transparent.

    Args:
        camera: the photo's (N = 1). size: pixels of the result's side. side: metres.

    Raises:
        CameraError: the camera looks away from the head, or the head is but a few pixels large.
    """
    x0, y0, width = _square(camera, side)
    window = (y0, x0, width)
    white = composite(portrait.image, portrait.matte)
    image = _cut(torch.from_numpy(white).permute(2, 0, 1).float() / 255, window, size, 1.0)
    alpha = _cut(torch.from_numpy(np.ascontiguousarray(portrait.matte))[None], window, size, 0.0)
    trusted = _cut(trusted_matte(portrait)[None], window, size, 0.0)
    return PhotoCrop(image, alpha, trusted, camera.cropped(x0, y0, width, width).resized(size, size))


def _square(camera: Cameras, side: float) -> tuple[int, int, int]:
    """Corner and width, whole pixels of the photo."""
    xy, depth = camera.project(torch.zeros(1, 3).to(camera.intrinsics))
    if not (torch.isfinite(xy).all() and depth.item() > side / 2):
        raise CameraError("The photo's camera does not have the head in front of it; estimate the head again.")
    width = round(camera.intrinsics[0, 0, 0].item() * side / depth.item())
    if width < _SMALLEST:
        raise CameraError(
            f"The head's {side} m square is {width} px wide in the photo; at least {_SMALLEST} are needed."
        )
    corner = (xy[0, 0] - width / 2).round().long().tolist()
    return corner[0], corner[1], width


def _cut(image: Tensor, window: tuple[int, int, int], size: int, fill: float) -> Tensor:
    """The window (top, left, width) of an image [C, H, W], `fill` outside it, scaled to [C, size, size]."""
    top, left, width = window
    height, full = image.shape[-2:]
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + width, height), min(left + width, full)
    out = image.new_full((image.shape[0], width, width), fill)
    if y1 > y0 and x1 > x0:
        out[:, y0 - top : y1 - top, x0 - left : x1 - left] = image[:, y0:y1, x0:x1]
    scaled = F.interpolate(out[None], (size, size), mode="bicubic", antialias=True, align_corners=False)
    return scaled[0].clamp(0, 1)
