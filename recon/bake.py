"""One texture from many pictures of the same surface, the photo counting most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import Fragments, rasterize_uv
from gen3dface.render import Surface
from gen3dface.texture import Observation, diffuse, edge_laplacian, fill_gutters, observe, texels_to_vertices

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
    confidence: Tensor  # [S, S] in 0..1, 0 where it was filled in


def bake(surface: Surface, pictures: list[Picture], size: int = 1024) -> BakedTexture:
    """Blend pictures into a texture; texels that none of them sees are filled smoothly from around.

    Args:
        surface: in the pose and expression that the pictures show. size: texels a side.
    """
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    points = texels.interpolate(surface.vertices, surface.faces)[texels.mask]
    normals = F.normalize(texels.interpolate(surface.normals(), surface.faces)[texels.mask], dim=-1)
    total = torch.zeros(len(points), 1)
    summed = torch.zeros(len(points), 3)
    best = torch.zeros(len(points))
    for picture in pictures:
        seen = observe(picture.image, picture.alpha, picture.camera, surface, points, normals)
        weight = picture.priority * seen.weight[:, None] ** _SHARPNESS
        summed += weight * seen.colour
        total += weight
        best = torch.maximum(best, seen.weight)
    sure = (total[:, 0] / _KNOWN).clamp(0, 1)
    known = Observation(summed / total.clamp(min=1e-9), sure)
    return BakedTexture(_assemble(known, texels, surface), _scatter(best * sure, texels))


def _assemble(known: Observation, texels: Fragments, surface: Surface) -> Tensor:
    """Known texels as they are, the others from a smooth fill over the mesh; charts grown into the gutters."""
    values, confidence = texels_to_vertices(known.colour, known.weight, texels, surface)
    typical = values[confidence > 0.5].median(0).values if (confidence > 0.5).any() else torch.full((3,), 0.5)
    smooth = diffuse(values, confidence, edge_laplacian(surface.faces, len(values)), typical)
    fill = texels.interpolate(smooth, surface.faces)[texels.mask]
    colour = known.colour * known.weight[:, None] + fill * (1 - known.weight[:, None])
    return fill_gutters(_scatter(colour, texels).permute(2, 0, 1), texels.mask).clamp(0, 1)


def _scatter(values: Tensor, texels: Fragments) -> Tensor:
    """Texel values [P, ...] laid out as an image [S, S, ...]."""
    out = values.new_zeros(*texels.face.shape, *values.shape[1:])
    out[texels.mask] = values
    return out
