"""How open a surface is to light, and whither: ambient occlusion (Zhukov et al., 1998) and bent normals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras, orbit
from gen3dface.raster import rasterize
from gen3dface.render import vertex_normals

_AWAY = 50.0  # radii to the cameras: nearly parallel rays
_SIDE = 384  # px of a depth map across the mesh
_TOLERANCE = 0.003  # radii that a vertex may lie behind what a depth map sees
_STEEPEST = 0.1  # cosine from which on slopes no longer widen the tolerance
_GOLDEN = math.pi * (1 + math.sqrt(5))


@dataclass(frozen=True)
class Openness:
    """What light reaches each vertex of a mesh: light that comes from direction w as 1 + g . w adds up to
    share + g . direction, as a share of what an open surface has of even light.

    Args:
        share: [V] in 0..1, the cosine-weighted share of its hemisphere that it sees; 1 where no normal is known.
        direction: [V, 3] the cosine-weighted mean of the directions that it sees; where all is open two thirds of the
            normal, 0 where none is known.
    """

    share: Tensor
    direction: Tensor


def openness(vertices: Tensor, faces: Tensor, directions: int = 64) -> Openness:
    """How far each vertex sees out.

    Args:
        vertices: [V, 3] any unit, on the CPU. faces: [F, 3], counter-clockwise from outside.
        directions: from which light comes, spread evenly; each costs a depth map of 384 px.
    """
    middle = (vertices.amin(0) + vertices.amax(0)) / 2
    placed = vertices - middle
    radius = placed.norm(dim=-1).max().clamp(min=1e-9)
    placed, normals = placed / radius, vertex_normals(vertices, faces)
    views = _from_all_around(directions)
    open_, mean, total = torch.zeros(len(vertices)), torch.zeros(len(vertices), 3), torch.zeros(len(vertices))
    for view, way in zip(views, F.normalize(views.centers, dim=-1), strict=True):
        cosine = (normals @ way).clamp(min=0)
        seen = cosine * _seen(placed, faces, view, cosine)
        open_ += seen
        mean += seen[:, None] * way
        total += cosine
    known, total = total > 0, total.clamp(min=1e-9)
    return Openness(torch.where(known, open_ / total, 1.0), mean / total[:, None])


def _from_all_around(count: int) -> Cameras:
    """Cameras around the unit sphere, evenly spread (Fibonacci's lattice)."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    elevations = torch.rad2deg(torch.asin(1 - 2 * index / count))
    azimuths = torch.rad2deg(_GOLDEN * index) % 360
    return orbit(azimuths, elevations, radius=_AWAY, focal=_AWAY / 2.05, size=_SIDE)


def _seen(vertices: Tensor, faces: Tensor, view: Cameras, cosine: Tensor) -> Tensor:
    """[V] 1 where a view sees the vertex, whose normal has this cosine [V] to it; else 0."""
    pixels, depth = (found[0] for found in view.project(vertices))
    column, row = pixels.floor().long().clamp(0, _SIDE - 1).unbind(-1)
    nearest = rasterize(vertices, faces, view).depth[row, column]
    slope = (1 - cosine**2).clamp(min=0).sqrt() / cosine.clamp(min=_STEEPEST)
    return (depth < nearest + _TOLERANCE + slope * 1.5 / _SIDE).float()
