"""Signed distances on a grid: where a reconstruction starts, and where a field is looked up cheaply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize

SIDE = 0.4  # metres: the volume's cube around the head's centre
_CHUNK = 1 << 18
_SLACK = 0.5  # grid steps by which a point may lie before a seen surface and still be on it


@dataclass(frozen=True)
class DistanceGrid:
    """Signed distances in metres, negative inside, at the corners of R - 1 cells a side of a cube around the origin."""

    values: Tensor  # [R, R, R]: z, y, x
    side: float = SIDE

    @property
    def step(self) -> float:
        """Metres between corners."""
        return self.side / (self.values.shape[0] - 1)

    def __call__(self, points: Tensor) -> Tensor:
        """Trilinear distances [P] at points [P, 3]; beyond the cube, those of its faces."""
        where = (points * (2 / self.side)).reshape(1, 1, 1, -1, 3)
        found = F.grid_sample(self.values[None, None], where, padding_mode="border", align_corners=True)
        return found.reshape(-1)

    def to(self, device: torch.device | str) -> DistanceGrid:
        """The same on another device."""
        return DistanceGrid(self.values.to(device), self.side)

    @classmethod
    def of(
        cls,
        function: Callable[[Tensor], Tensor],
        resolution: int,
        side: float = SIDE,
        device: torch.device | str | None = None,
    ) -> DistanceGrid:
        """Of a function from points [P, 3] on a device to distances [P]."""
        found = torch.cat([function(part) for part in corner_points(resolution, side, device).split(_CHUNK)])
        return cls(found.reshape(resolution, resolution, resolution), side)

    @classmethod
    def from_mesh(
        cls, vertices: Tensor, faces: Tensor, cameras: Cameras, resolution: int = 128, side: float = SIDE
    ) -> DistanceGrid:
        """Of what cameras see of a mesh, however open, overlapping or hollow it is.

        A point is outside when one of the cameras sees past it. The mesh reaches down to the cube's floor.
        """
        points = corner_points(resolution, side, vertices.device)
        solid, seen = _Solid(points), []
        for camera in cameras:
            depth = rasterize(vertices, faces, camera).depth
            xy, z = camera.project(solid.points)
            behind = _looked_up(depth, xy[0], torch.inf)
            solid.keep(z[0] > behind - _SLACK * side / resolution)
            pixels = depth.isfinite().nonzero()
            centres = pixels.flip(1).to(depth) + 0.5
            seen.append(camera.unproject(centres[None], depth[pixels[:, 0], pixels[:, 1]][None])[0])
        rough = _from_inside(solid.inside().reshape((resolution,) * 3), side)
        return cls(_sharpened(rough, torch.cat(seen), points, side), side)

    @classmethod
    def from_masks(cls, masks: Tensor, cameras: Cameras, resolution: int = 128, side: float = SIDE) -> DistanceGrid:
        """The visual hull: inside is what every mask covers.

        Args:
            masks: [N, 1, H, W] in 0..1 of N cameras; what lies beyond a picture's edge it says nothing of.
        """
        solid = _Solid(corner_points(resolution, side, masks.device))
        for mask, camera in zip(masks, cameras, strict=True):
            xy, z = camera.project(solid.points)
            solid.keep((_looked_up(mask[0], xy[0], 1.0) >= 0.5) | (z[0] <= 0))
        return cls(_from_inside(solid.inside().reshape((resolution,) * 3), side), side)


class _Solid:
    """What is left of points [P, 3] that are carved view by view; those that are gone are not asked again."""

    def __init__(self, points: Tensor) -> None:
        self.points, self.count = points, len(points)
        self.rows = torch.arange(len(points), device=points.device)

    def keep(self, kept: Tensor) -> None:
        """Of the points that are left."""
        self.points, self.rows = self.points[kept], self.rows[kept]

    def inside(self) -> Tensor:
        """[P] bool: which are left."""
        found = torch.zeros(self.count, dtype=torch.bool, device=self.rows.device)
        return found.index_fill_(0, self.rows, True)


def corner_points(resolution: int, side: float, device: torch.device | str | None = None) -> Tensor:
    """World points [R^3, 3] of a grid's corners, x fastest."""
    line = torch.linspace(-side / 2, side / 2, resolution, device=device)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack([x, y, z], -1).reshape(-1, 3)


def _looked_up(image: Tensor, xy: Tensor, beyond: float) -> Tensor:
    """The pixels [P] of an image [H, W] that points [P, 2] fall in."""
    height, width = image.shape
    x, y = xy.floor().nan_to_num(-1).clamp(-1, max(height, width)).long().unbind(1)
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    found = image[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return torch.where(within, found, beyond)


def _from_inside(inside: Tensor, side: float) -> Tensor:
    """Distances to the border between a solid and what surrounds it, to a fraction of a step."""
    step = side / (len(inside) - 1)
    if not bool(inside.any()):
        return torch.full(inside.shape, side, device=inside.device)
    nearest = _steps_by_scipy if inside.device.type == "cpu" else steps_to_nearest
    outer = nearest(inside)
    inner = nearest(~inside) if not bool(inside.all()) else torch.full_like(outer, len(inside))
    signed = torch.where(inside, 0.5 - inner, outer - 0.5).cpu().numpy()
    found = torch.from_numpy(ndimage.gaussian_filter(signed, 0.7).astype(np.float32) * np.float32(step))
    return found.to(inside.device)


def _steps_by_scipy(marked: Tensor) -> Tensor:
    return torch.from_numpy(ndimage.distance_transform_edt(~marked.numpy()))


def steps_to_nearest(marked: Tensor) -> Tensor:
    """Grid steps [R, R, R] to the nearest marked corner, R^4 comparisons: for a GPU.

    d^2(x, y, z) = min_z' (z - z')^2 + min_y' (y - y')^2 + min_x' (x - x')^2 + (0 where marked), axis by axis.
    """
    line = torch.arange(len(marked), device=marked.device)
    apart = (line[:, None] - line).square().float()
    squared = torch.where(marked, 0.0, 3.0 * len(marked) ** 2)
    for _ in range(3):
        squared = torch.stack([(rows[:, None] + apart).amin(-1) for rows in squared]).movedim(-1, 0)
    return squared.sqrt()


def _sharpened(rough: Tensor, seen: Tensor, points: Tensor, side: float) -> Tensor:
    """Distances near a surface taken from the points [S, 3] that were seen of it."""
    near = (rough.abs() < 3 * side / len(rough)).flatten().nonzero()[:, 0]
    distance, _ = cKDTree(seen.cpu().numpy()).query(points[near].cpu().numpy(), workers=-1)
    out = rough.flatten().clone()
    out[near] = torch.from_numpy(distance.astype(np.float32)).to(out) * out[near].sign()
    return out.reshape(rough.shape)
