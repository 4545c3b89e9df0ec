"""Shadows and ambient occlusion from a grid of densities: hair dims light softly, surfaces block it.

Light is followed through the grid voxel by voxel, for all voxels at once, so that a direction costs a few shifted
additions of the whole grid. Volumetric shadows of hair: Ward et al., A Survey on Hair Modeling, 2007, section 4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.data_synth.rendered.scene import LitSurface, Scene
from gen3dface.data_synth.rendered.strands import Strands

VOXEL = 0.0075  # m
LOW = (-0.21, -0.26, -0.21)  # m, the corner where x, y and z are least
SHAPE = (56, 62, 56)  # voxels along z, y, x
HAIR_EXTINCTION = 0.11  # of the strands' geometric cross-section: light scatters through hair
SHELL = 2.5  # optical depth of a surface
_PUSH = 1.1  # voxels that a closed surface's shell lies below it, so that it does not shade itself
_START = 0.5  # voxels above the surface where its light is looked up
_AMBIENT_STEPS = ((1, 1.0), (2, 1.2), (4, 2.0), (7, 3.0))  # voxels along, length that the step stands for
_LAMP_REACH = 22  # voxels


@dataclass(frozen=True)
class ShadowGrid:
    """How much light reaches each voxel."""

    around: Tensor  # [14, D, H, W] transmittance along `DIRECTIONS`
    lamps: Tensor  # [K, D, H, W] transmittance toward each lamp

    def at_surface(self, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """Openness [V] to the hemisphere (cosine-weighted) and lamp visibility [V, K], all in 0..1."""
        found = _look_up(torch.cat([self.around, self.lamps]), points + normals * (_START * VOXEL))
        count = len(DIRECTIONS)
        weight = (normals @ DIRECTIONS.to(points).T).clamp(min=0)
        return (found[:, :count] * weight).sum(-1) / weight.sum(-1), found[:, count:]

    def in_hair(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For points of strands [3, S, P]: openness [S, P] to all sides, unit direction [3, S, P] where most light
        comes from, lamp visibility [K, S, P].

        Each strand looks up the nearest voxel of its points shifted by its own fraction of a voxel, which is trilinear
        on average.
        """
        openness = self.around.mean(0, keepdim=True)
        bent = torch.einsum("kdhw,kc->cdhw", self.around, DIRECTIONS.to(points))
        rows = torch.cat([openness, bent / _length(bent), self.lamps]).reshape(4 + len(self.lamps), -1).T.contiguous()
        found = rows[_voxel(points)].movedim(-1, 0).contiguous()
        return found[0], found[1:4], found[4:]


def shadow_grid(scene: Scene) -> ShadowGrid:
    """Follow the light through a scene; a lamp's rays are taken as parallel within the grid."""
    density = torch.zeros(math.prod(SHAPE), device=scene.device)
    for surface in scene.surfaces:
        _splat(density, *_shell(surface))
    if scene.strands is not None and len(scene.strands):
        density.index_add_(0, *_fibres(scene.strands))
    density = (density / VOXEL**2).reshape(SHAPE)  # cross-section in m2 -> optical depth a voxel
    around = torch.stack([_ambient(density, d) for d in DIRECTIONS.round().long().tolist()])
    ways, _ = scene.light.toward(torch.zeros(3, 1, device=scene.device))
    lamps = [_march(density, _ray(way)) for way in ways[..., 0].tolist()]
    return ShadowGrid(around, torch.stack(lamps) if lamps else density.new_zeros(0, *SHAPE))


def _directions() -> Tensor:
    """Six axes and eight diagonals, [14, 3], unit up to rounding."""
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    return torch.cat([axes, corners / math.sqrt(3)])


DIRECTIONS = _directions()


def _shell(surface: LitSurface) -> tuple[Tensor, Tensor]:
    """Sample points [M, 3] on (or just under) a surface and the cross-section in m2 that each stands for."""
    push = 0.0 if surface.two_sided else _PUSH * VOXEL
    corners = (surface.vertices - surface.unit_normals() * push)[surface.faces]
    a, b, c = surface.vertices[surface.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2
    places = corners.new_tensor([[4, 1, 1], [1, 4, 1], [1, 1, 4], [2, 2, 2]]) / 6
    points = torch.einsum("fkc,pk->pfc", corners, places)
    return points.reshape(-1, 3), (area * SHELL / len(places)).repeat(len(places))


def _fibres(strands: Strands) -> tuple[Tensor, Tensor]:
    """Voxels [M] that the segments of strands lie in and their cross-sections in m2."""
    points = strands.points.movedim(-1, 0).contiguous()
    step = points[..., 1:] - points[..., :-1]
    area = _length(step) * strands.width[:, 1:] * HAIR_EXTINCTION
    return _voxel(points[..., :-1] + step / 2).reshape(-1), area.reshape(-1)


def _voxel(points: Tensor) -> Tensor:
    """The voxel [S, P] of points [3, S, P], each strand shifted by up to half a voxel (Roberts' R3 sequence)."""
    number = torch.arange(points.shape[1], device=points.device, dtype=torch.float64)
    flat = torch.zeros(points.shape[1:], dtype=torch.int64, device=points.device)
    for axis, ratio in ((2, 0.5497), (1, 0.6711), (0, 0.8192)):
        shift = (number * ratio % 1.0 - 0.5).to(points)[:, None]
        size = SHAPE[2 - axis]
        place = ((points[axis] - LOW[axis]) / VOXEL + shift).long().clamp(0, size - 1)
        flat = flat * size + place
    return flat


def _length(vectors: Tensor) -> Tensor:
    """Lengths of vectors whose parts lie along the first dimension; never 0."""
    return vectors.square().sum(0).clamp(min=1e-18).sqrt()


def _splat(density: Tensor, points: Tensor, amount: Tensor) -> None:
    """Add to the voxels around each point, by trilinear weights."""
    limit = points.new_tensor(SHAPE[::-1]) - 1.001
    place = ((points - points.new_tensor(LOW)) / VOXEL - 0.5).clamp(min=0).minimum(limit)
    low = place.long()
    part = place - low
    flat = (low[:, 2] * SHAPE[1] + low[:, 1]) * SHAPE[2] + low[:, 0]
    strides = (1, SHAPE[2], SHAPE[1] * SHAPE[2])
    for corner in range(8):
        weight, offset = amount, 0
        for axis in range(3):
            up = corner >> axis & 1
            weight = weight * (part[:, axis] if up else 1 - part[:, axis])
            offset += up * strides[axis]
        density.index_add_(0, flat + offset, weight)


def _shifted(density: Tensor, offset: tuple[int, int, int]) -> Tensor:
    """density at (x, y, z) + offset; nothing beyond the grid."""
    out = torch.zeros_like(density)
    here, there = [], []
    for step, size in zip(offset[::-1], density.shape, strict=True):
        here.append(slice(max(-step, 0), size - max(step, 0)))
        there.append(slice(max(step, 0), size - max(-step, 0)))
    out[tuple(here)] = density[tuple(there)]
    return out


def _ambient(density: Tensor, way: list[int]) -> Tensor:
    scale = math.sqrt(sum(abs(c) for c in way))
    depth = torch.zeros_like(density)
    for reach, length in _AMBIENT_STEPS:
        voxels = round(reach / scale)
        depth += length * _shifted(density, (way[0] * voxels, way[1] * voxels, way[2] * voxels))
    return torch.exp(-depth)


def _ray(way: list[float]) -> tuple[list[tuple[int, int, int]], float]:
    """Voxel offsets along a direction, one for each step of its largest part, and a step's length in voxels."""
    largest = max(abs(c) for c in way)
    steps = range(1, round(_LAMP_REACH * largest) + 1)
    offsets = [(round(way[0] / largest * i), round(way[1] / largest * i), round(way[2] / largest * i)) for i in steps]
    return offsets, 1 / largest


def _march(density: Tensor, ray: tuple[list[tuple[int, int, int]], float]) -> Tensor:
    offsets, length = ray
    depth = torch.zeros_like(density)
    for offset in offsets:
        depth += _shifted(density, offset)
    return torch.exp(-depth * length)


def _look_up(fields: Tensor, points: Tensor) -> Tensor:
    """Trilinear look-up of [C, D, H, W] at points [V, 3] -> [V, C]."""
    size = points.new_tensor(SHAPE[::-1]) * VOXEL
    grid = ((points - points.new_tensor(LOW)) / size * 2 - 1).reshape(1, 1, 1, -1, 3)
    return F.grid_sample(fields[None], grid, align_corners=False, padding_mode="border")[0, :, 0, 0].T
