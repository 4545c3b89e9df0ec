"""Pictures of a textured mesh: rasterise, look the texture up, average down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize


@dataclass(frozen=True)
class Surface:
    """A mesh with texture coordinates."""

    vertices: Tensor  # [V, 3] world, metres
    faces: Tensor  # [F, 3] int64
    uvs: Tensor  # [T, 2] in 0..1, v up
    uv_faces: Tensor  # [F, 3] int64

    def normals(self) -> Tensor:
        """Unit vertex normals [V, 3], outward for counter-clockwise faces."""
        return vertex_normals(self.vertices, self.faces)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals [V, 3] of a triangle mesh."""
    a, b, c = vertices[faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add_(0, faces.reshape(-1), normal.repeat_interleave(3, 0))
    return F.normalize(total, dim=-1)


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear look-up of a texture [C, S, S] at coordinates [..., 2] (v up) -> [..., C]."""
    grid = torch.stack([uv[..., 0] * 2 - 1, 1 - uv[..., 1] * 2], -1).reshape(1, 1, -1, 2)
    found = F.grid_sample(texture[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0, :, 0].T.reshape(*uv.shape[:-1], texture.shape[0])


def sample_image(image: Tensor, xy: Tensor) -> Tensor:
    """Bilinear look-up of an image [C, H, W] at pixel coordinates [P, 2] (centres at +0.5) -> [P, C]."""
    height, width = image.shape[-2:]
    grid = (xy / xy.new_tensor([width, height]) * 2 - 1).reshape(1, 1, -1, 2)
    found = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0, :, 0].T


def render(
    surface: Surface, texture: Tensor, cameras: Cameras, supersample: int = 2, background: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """Unlit pictures of a textured mesh, seen from outside.

    Args:
        surface: the mesh. texture: [C, S, S] in 0..1.
        cameras: N views. supersample: each pixel averages supersample^2 samples.
        background: what lies behind the mesh, one value or [C]; 1 is white.

    Returns:
        images [N, C, H, W] in 0..1 over the background, and coverage [N, 1, H, W] in 0..1.
    """
    height, width = cameras.height, cameras.width
    large = cameras.resized(height * supersample, width * supersample)
    images, masks = [], []
    for camera in large:
        seen = rasterize(surface.vertices, surface.faces, camera, cull_back=True)
        colour = sample_texture(texture, seen.gather(surface.uvs, surface.uv_faces))
        images.append(_averaged(seen.scatter(colour, background).permute(2, 0, 1), supersample))
        masks.append(_averaged(seen.mask[None].to(colour), supersample))
    return torch.stack(images), torch.stack(masks)


def show_values(surface: Surface, values: Tensor, cameras: Cameras) -> Tensor:
    """Values of vertices [V, C] at the pixels' centres of N views, [N, C, H, W]; 0 off the surface."""
    seen = [rasterize(surface.vertices, surface.faces, camera, cull_back=True) for camera in cameras]
    return torch.stack([s.interpolate(values, surface.faces) for s in seen]).permute(0, 3, 1, 2)


def _averaged(image: Tensor, factor: int) -> Tensor:
    """Means of squares of `factor` pixels: [C, H, W] -> [C, H / factor, W / factor]."""
    rows = reduce(torch.add, (image[:, i::factor] for i in range(factor)))
    return reduce(torch.add, (rows[..., i::factor] for i in range(factor))) / factor**2


def ramp(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    """From 0 at the lower bound to 1 at the upper one."""
    return ((values - bounds[0]) / (bounds[1] - bounds[0])).clamp(0, 1)


def box_mean(values: Tensor, reach: int) -> Tensor:
    """Mean of [H, W] over windows of 2 reach + 1 pixels, the image alone."""
    return _box(torch.add, values, reach, 0.0) / _box(torch.add, torch.ones_like(values), reach, 0.0)


def box_max(values: Tensor, reach: int) -> Tensor:
    """Maximum of [H, W] over windows of 2 reach + 1 pixels."""
    return _box(torch.maximum, values, reach, -torch.inf)


def _box(combine: Callable[[Tensor, Tensor], Tensor], values: Tensor, reach: int, beyond: float) -> Tensor:
    """What a window holds, combined; `beyond` lies around the image. Shifted images: pooling is slow on the CPU."""
    (height, width), size = values.shape, 2 * reach + 1
    padded = F.pad(values, (reach, reach, reach, reach), value=beyond)
    rows = reduce(combine, (padded[i : i + height] for i in range(size)))
    return reduce(combine, (rows[:, i : i + width] for i in range(size)))
