"""One texture from many pictures of the same surface, the photo counting most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize_uv
from gen3dface.render import Surface
from gen3dface.texture import fill_gutters, observe

_SHARPNESS = 4  # power of the viewing weight: the squarest look wins, neighbours blend over a narrow seam
_KNOWN = 0.02  # total weight below which a texel counts as unseen


@dataclass(frozen=True)
class Picture:
    """One picture of the surface."""

    image: Tensor  # [3, H, W] in 0..1
    alpha: Tensor  # [H, W] in 0..1: where it can be trusted
    camera: Cameras  # N = 1
    priority: float = 1.0  # how much it counts against the others


@dataclass(frozen=True)
class BakedTexture:
    """A texture and how well each texel was seen."""

    colour: Tensor  # [3, S, S] in 0..1
    # [S, S] in 0..1: 0 where it was filled in, 1 where one of the pictures that count most saw it squarely; one that
    # counts less tells less: views made from a photo do not see what the photo did not
    confidence: Tensor
    known: Tensor  # [S, S] in 0..1: how far the colour is the pictures', not the base's

    def pixels(self) -> NDArray[np.uint8]:
        """[S, S, 3] the colours."""
        return (self.colour * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    def confidences(self) -> NDArray[np.uint8]:
        """[S, S] the same from 0 to 255."""
        return (self.confidence * 255).round().to(torch.uint8).cpu().numpy()


def bake(surface: Surface, pictures: list[Picture], base: Tensor, outer: Tensor | None = None) -> BakedTexture:
    """Blend pictures into a texture.

    Args:
        surface: in the pose and expression that the pictures show, on their device.
        base: [3, S, S] in 0..1, shown where no picture sees.
        outer: [V] bool, vertices that the pictures may colour (default: all); the others keep the base.
    """
    texels = rasterize_uv(surface.uvs, surface.uv_faces, base.shape[-1])
    points = texels.gather(surface.vertices, surface.faces)
    normals = F.normalize(texels.gather(surface.normals(), surface.faces), dim=-1)
    total = points.new_zeros(len(points), 1)
    summed = points.new_zeros(len(points), 3)
    best, top = points.new_zeros(len(points)), max((p.priority for p in pictures), default=1.0)
    for picture in pictures:
        seen = observe(picture.image, picture.alpha, picture.camera, surface, points, normals)
        weight = picture.priority * seen.weight[:, None] ** _SHARPNESS
        summed += weight * seen.colour
        total += weight
        best = torch.maximum(best, seen.weight * (picture.priority / top))
    sure = (total[:, 0] / _KNOWN).clamp(0, 1)
    if outer is not None:
        sure = sure * (texels.gather(outer.float()[:, None], surface.faces)[:, 0] > 0.5)
    mean = summed / total.clamp(min=1e-9)
    colour = mean * sure[:, None] + base.flatten(1)[:, texels.pixels].T * (1 - sure[:, None])
    texture = fill_gutters(texels.scatter(colour).permute(2, 0, 1), texels.mask).clamp(0, 1)
    return BakedTexture(texture, *(texels.scatter(share) for share in (best * sure, sure)))
