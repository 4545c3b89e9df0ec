"""Hair that is drawn back and tied: ponytails and buns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.hair.growth import CLEARANCE
from gen3dface.data_synth.rendered.hair.head_field import HeadField
from gen3dface.data_synth.rendered.hair.noise import smooth_noise
from gen3dface.data_synth.rendered.hair.roots import Roots
from gen3dface.data_synth.rendered.hair.style import HairStyle
from gen3dface.data_synth.rendered.hair.vectors import unit

_HUG = 16  # points from root to tie


def tie_point(style: HairStyle, field: HeadField) -> Tensor:
    """Where the hair is tied [3]: just off the skin at the back of the mean head."""
    z = torch.linspace(-0.06, -0.15, 181, device=field.distance.device)
    ray = torch.stack([torch.zeros_like(z), torch.full_like(z, style.tie or 0.0), z], -1)
    outside = field.at(ray)[0] > 0.006
    return ray[int(outside.to(torch.int8).argmax())]


def grow_tied(style: HairStyle, roots: Roots, field: HeadField, generator: torch.Generator) -> Tensor:
    """Strands [S, points, 3] on the mean head, tight from root to tie, with the tail that falls from it."""
    tie = tie_point(style, field)
    lines = _tight(style, roots, field, tie, generator)
    return torch.cat([lines, _tail(style, len(roots), tie, generator)], 1) if style.tail else lines


def _tight(style: HairStyle, roots: Roots, field: HeadField, tie: Tensor, generator: torch.Generator) -> Tensor:
    count = len(roots)
    part = torch.linspace(0, 1, _HUG).to(tie)[:, None]
    lines = torch.lerp(roots.rest[:, None], tie, part)
    layer = torch.rand(count, 1, generator=generator).to(tie)
    arch = torch.sin(part[:, 0] * 2.6)
    height = CLEARANCE + (0.002 + layer * style.volume) * arch
    hold = 1 - part[:, 0] ** 6
    for _ in range(3):
        distance, out = field.at(lines)
        lines = lines + out * ((height - distance).clamp(-0.03, 0.06) * hold)[..., None]
        lines = _relaxed(lines)
    return lines


def _relaxed(lines: Tensor) -> Tensor:
    inner = 0.25 * lines[:, :-2] + 0.5 * lines[:, 1:-1] + 0.25 * lines[:, 2:]
    return torch.cat([lines[:, :1], inner, lines[:, -1:]], 1)


def _tail(style: HairStyle, count: int, tie: Tensor, generator: torch.Generator) -> Tensor:
    """The part behind the tie [S, points - _HUG, 3]: out, then down, thickest in the middle."""
    part = torch.linspace(0, 1, style.points - _HUG + 1)[1:, None]
    aside = unit(torch.randn(count, 1, 3, generator=generator))
    aside = aside * torch.rand(count, 1, 1, generator=generator) ** 0.5
    length = style.tail * (0.75 + 0.25 * torch.rand(count, 1, 1, generator=generator))
    path = torch.cat(
        [0 * part, 0.12 * torch.sin(part * 3) - 0.95 * part**1.3, -0.32 * part.sqrt() * (1 - 0.4 * part)], -1
    )
    thick = 0.005 + 0.014 * torch.sin(part * 2.9).clamp(min=0) ** 0.7
    return tie + (aside * thick + length * path).to(tie)


def wound_bun(style: HairStyle, tie: Tensor, generator: torch.Generator, count: int = 1600) -> Tensor:
    """Strands [count, points, 3] wound around a ball behind the tie."""
    radius = style.bun
    center = tie + tie.new_tensor([0.0, 0.003, -0.45 * radius])
    axis = unit(torch.randn(count, 3, generator=generator) * 0.4 + torch.tensor([0.2, 0.15, 1.0]))
    u = unit(torch.linalg.cross(axis, torch.randn(count, 3, generator=generator)))
    v = torch.linalg.cross(axis, u)
    angle = torch.linspace(0, 1, style.points)[None, :, None] * (2 + 2.5 * torch.rand(count, 1, 1, generator=generator))
    tilt = torch.rand(count, 1, 1, generator=generator) * 2 - 1
    lumps = 1 + 0.05 * smooth_noise(axis, 3.0, generator)[:, None, :1]
    size = radius * (0.82 + 0.22 * torch.rand(count, 1, 1, generator=generator)) * lumps
    ring = (1 - 0.9 * tilt**2).sqrt() * (
        torch.cos(angle * math.pi / 2) * u[:, None] + torch.sin(angle * math.pi / 2) * v[:, None]
    )
    ball = size * (ring + 0.95 * tilt * axis[:, None])
    return center + (ball * torch.tensor([1.1, 1.0, 0.8])).to(tie)
