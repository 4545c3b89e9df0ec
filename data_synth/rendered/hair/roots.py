"""Where hair is rooted: the hairline, and random points of the skin above it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.hair.head_field import OUTER
from gen3dface.data_synth.rendered.hair.vectors import unit
from gen3dface.heads import HeadModel

# Height of the hairline (m, mean head) over the azimuth around the head's axis (degrees; 0 is the face, 180 the nape):
# forehead, temple, sideburn, above the ear, behind it, nape.
_AZIMUTH = (0, 18, 34, 44, 52, 58, 63, 68, 73, 78, 95, 104, 112, 125, 145, 180)
_HEIGHT = (
    0.070,
    0.071,
    0.067,
    0.054,
    0.033,
    0.010,
    -0.008,
    -0.010,
    0.006,
    0.015,
    0.013,
    -0.004,
    -0.030,
    -0.052,
    -0.066,
    -0.071,
)
# and how far a receding hairline withdraws there, relative to its strength
_RECESSION = (0.35, 0.7, 1.6, 2.6, 2.2, 1.4, 0.4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
_AXIS_Z = -0.005
_CANDIDATES = 60_000


@dataclass(frozen=True)
class Roots:
    """Points of the skin."""

    faces: Tensor  # [S] numbers of triangles
    barycentric: Tensor  # [S, 3]
    rest: Tensor  # [S, 3] on the mean head, metres
    normals: Tensor  # [S, 3] unit, of the mean head

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: Tensor) -> Roots:
        return Roots(self.faces[index], self.barycentric[index], self.rest[index], self.normals[index])

    def on(self, vertices: Tensor, faces: Tensor) -> Tensor:
        """The same points [S, 3] of another head: vertices [V, 3], faces [F, 3]."""
        return (vertices[faces[self.faces]] * self.barycentric[..., None]).sum(1)

    def to(self, device: torch.device | str) -> Roots:
        """The same roots on another device."""
        return Roots(*(t.to(device) for t in (self.faces, self.barycentric, self.rest, self.normals)))


def skin_points(model: HeadModel) -> Roots:
    """Points spread evenly over the skin without ears, lids and lips, the same ones on every call."""
    outer = torch.stack([model.regions[name] for name in OUTER if name != "ears"]).any(0)
    outer &= ~(model.regions["ears"] | model.regions["eyelids"] | model.regions["lips"])
    usable = outer[model.faces].all(1).nonzero()[:, 0]
    a, b, c = model.template[model.faces[usable]].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    generator = torch.Generator().manual_seed(0)
    faces = usable[torch.multinomial(area, _CANDIDATES, replacement=True, generator=generator)]
    cut = torch.rand(_CANDIDATES, 2, generator=generator).sort(dim=1).values
    weights = torch.stack([cut[:, 0], cut[:, 1] - cut[:, 0], 1 - cut[:, 1]], 1)
    corners = model.faces[faces]
    rest = (model.template[corners] * weights[..., None]).sum(1)
    normals = (model.mesh().normals()[corners] * weights[..., None]).sum(1)
    return Roots(faces, weights, rest, unit(normals))


def above_hairline(points: Tensor, recession: float = 0.0, shift: float = 0.0) -> Tensor:
    """Height in metres above the hairline of points [..., 3] on the mean head; hair grows where it is positive.

    Args:
        recession: metres that the temples withdraw, roughly. shift: metres that the whole line lies higher.
    """
    azimuth = torch.rad2deg(torch.atan2(points[..., 0].abs(), points[..., 2] - _AXIS_Z))
    line = [h + recession * r for h, r in zip(_HEIGHT, _RECESSION, strict=True)]
    return points[..., 1] - interpolate(azimuth, _AZIMUTH, line) - shift


def interpolate(x: Tensor, knots: tuple[float, ...], values: list[float] | tuple[float, ...]) -> Tensor:
    """Piecewise linear through (knots, values), constant beyond."""
    at, to = x.new_tensor(knots), x.new_tensor(values)
    high = torch.bucketize(x.contiguous(), at).clamp(1, len(at) - 1)
    part = ((x - at[high - 1]) / (at[high] - at[high - 1])).clamp(0, 1)
    return torch.lerp(to[high - 1], to[high], part)


def choose(candidates: Roots, density: Tensor, count: int, generator: torch.Generator) -> Roots:
    """Up to `count` of the candidates, drawn without repetition by their relative density [S] (0: none), shuffled."""
    count = min(count, int((density > 0).sum()))
    if count == 0:
        return candidates[torch.zeros(0, dtype=torch.int64, device=density.device)]
    index = torch.multinomial(density.cpu(), count, generator=generator)
    return candidates[index.to(density.device)]
