"""Where points of the world lie in views and volumes. Nothing here is learned or depends on the step.

Volumes are cubes around the origin, stored [z, y, x]. Their outermost samples lie on the cube's faces, so that a
point p reads the volume at p / (side / 2) with `align_corners=True`.

Pixels: `half` is this package's convention: a pixel's centre lies at (column + 0.5, row + 0.5). `integer` keeps the
quirk of SyncDreamer and Morphable Diffusion, which put centres at whole numbers although their intrinsics count from
the pixel's corner: half a feature pixel (four image pixels) off. Their weights need it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.errors import ConfigError

PixelCenters = Literal["half", "integer"]
_OFFSET: dict[str, float] = {"half": 0.5, "integer": 0.0}
_NEAREST = 1e-4  # points behind a camera are pulled to this depth and fall outside its image


def pixel_offset(pixel_centers: str) -> float:
    """Where a pixel's centre lies within it."""
    if pixel_centers not in _OFFSET:
        raise ConfigError(f"Unknown pixel_centers {pixel_centers!r}; choose one of {', '.join(_OFFSET)}.")
    return _OFFSET[pixel_centers]


def volume_points(size: int, side: float) -> Tensor:
    """The sample points of a volume, [size^3, 3] as (x, y, z), x fastest."""
    axis = torch.linspace(-0.5, 0.5, size) * side
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], -1).reshape(-1, 3)


def scaled_projection(world_to_camera: Tensor, intrinsics: Tensor, scale: float) -> Tensor:
    """diag(scale, scale, 1) K [R|t]: [..., 3 or 4, 4] and [..., 3 or 4, 3 or 4] -> [..., 3, 4]."""
    factor = intrinsics.new_tensor([scale, scale, 1.0])
    return factor[:, None] * intrinsics[..., :3, :3] @ world_to_camera[..., :3, :]


def view_grid(
    points: Tensor,  # [P, 3] or [B, P, 3] world
    world_to_camera: Tensor,  # [B, N, 4, 4]
    intrinsics: Tensor,  # [B, N, 3, 3] pixels of the image
    image_size: int,
    feature_size: int,
    pixel_centers: PixelCenters = "half",
) -> Tensor:
    """Where points fall in the feature maps of N views: [B, N, P, 2] in -1..1, for `align_corners=True`."""
    projection = scaled_projection(world_to_camera, intrinsics, feature_size / image_size)
    world = points if points.ndim == 3 else points[None]
    local = world[:, None] @ projection[..., :3].mT + projection[..., None, :, 3]
    pixels = local[..., :2] / local[..., 2:].clamp(min=_NEAREST)
    return (pixels - pixel_offset(pixel_centers)) / ((feature_size - 1) / 2) - 1


def sample_views(features: Tensor, grid: Tensor) -> Tensor:
    """Bilinear look-up, zero outside: features [B, N, C, h, w] at [B, N, P, 2] -> [B, N, C, P]."""
    flat = features.flatten(0, 1).to(grid.dtype)
    found = F.grid_sample(flat, grid.flatten(0, 1)[:, None], padding_mode="zeros", align_corners=True)
    return found[:, :, 0].unflatten(0, features.shape[:2]).to(features.dtype)


def sample_volume(volume: Tensor, grid: Tensor) -> Tensor:
    """Trilinear look-up, zero outside: volume [R, C, D, H, W] at [R, ..., 3] (x, y, z in -1..1) -> [R, C, ...]."""
    flat = grid.reshape(grid.shape[0], 1, 1, -1, 3)
    found = F.grid_sample(volume.to(grid.dtype), flat, padding_mode="zeros", align_corners=True)
    return found.reshape(*volume.shape[:2], *grid.shape[1:-1]).to(volume.dtype)


def frustum_depths(world_to_camera: Tensor, count: int, side: float, center: float | None = None) -> Tensor:
    """Depths that span the cube's bounding sphere: [B, N, 4, 4] -> [B, N, count].

    Args:
        center: middle of the span; None: the camera's distance from the origin (Morphable Diffusion, the default).
            SyncDreamer takes 1.5 sides for every camera.
    """
    distance = (world_to_camera[..., :3, :3].mT @ world_to_camera[..., :3, 3:]).norm(dim=(-2, -1))
    if center is not None:
        distance = torch.full_like(distance, center)
    reach = 0.86603 * side  # sqrt(3) / 2, rounded as the peers have it
    near, far = distance[..., None] - reach, distance[..., None] + reach
    return torch.linspace(0, 1, count).to(distance) * (far - near) + near


def frustum_points(
    world_to_camera: Tensor,  # [B, N, 4, 4]
    intrinsics: Tensor,  # [B, N, 3, 3] pixels of the image
    depths: Tensor,  # [B, N, D]
    image_size: int,
    feature_size: int,
    pixel_centers: PixelCenters = "half",
) -> Tensor:
    """World points on the rays of each view's feature pixels: [B, N, D, h, w, 3]."""
    projection = scaled_projection(world_to_camera, intrinsics, feature_size / image_size)
    bottom = projection.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*projection.shape[:-2], 1, 4)
    inverse = torch.linalg.inv(torch.cat([projection, bottom], -2))[..., None, :3, :]  # [B, N, 1, 3, 4]
    axis = torch.arange(feature_size).to(projection) + pixel_offset(pixel_centers)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    rays = torch.stack([u, v, torch.ones_like(u)], -1)  # [h, w, 3]
    image = (depths[..., None, None, None] * rays).flatten(-3, -2)  # [B, N, D, h w, 3]
    world = image @ inverse[..., :3].mT + inverse[..., None, :, 3]
    return world.unflatten(-2, rays.shape[:2])
