"""Where along its ray a pixel is sampled: around the first surface alone."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.recon.distance_grid import DistanceGrid

_MARCH = 96  # steps through the cube
_LEAST = 1e-9


def crossings(grid: DistanceGrid, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays first enter the surface of a grid, or come nearest to it.

    Args:
        origins, directions: [R, 3] metres, unit.

    Returns:
        metres along the rays [R]; where they are deepest inside, or nearest, [R]; and the distances there [R].
    """
    near, far = cube_span(origins, directions, grid.side)
    share = torch.linspace(0, 1, _MARCH, device=origins.device)
    along = near[:, None] + (far - near)[:, None] * share
    points = origins[:, None] + along[..., None] * directions[:, None]
    found = grid(points.reshape(-1, 3)).reshape(along.shape)
    enters = (found[:, :-1] > 0) & (found[:, 1:] <= 0)
    hit, first = enters.any(1), enters.float().argmax(1)
    before, after = (found.gather(1, (first + i)[:, None])[:, 0] for i in (0, 1))
    step = (far - near) / (_MARCH - 1)
    surface = near + step * (first + before / (before - after).clamp(min=_LEAST))
    least, lowest = found.min(1)
    deepest = along.gather(1, lowest[:, None])[:, 0]
    return torch.where(hit, surface, deepest), deepest, least


def cube_span(origins: Tensor, directions: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """Metres along rays [R] at which they enter and leave the cube around the origin; the same where they miss it."""
    safe = torch.where(directions.abs() < _LEAST, _LEAST, directions)
    a, b = (-side / 2 - origins) / safe, (side / 2 - origins) / safe
    near = torch.minimum(a, b).amax(1).clamp(min=0)
    return near, torch.maximum(torch.maximum(a, b).amin(1), near)


def sections(centres: Tensor, half: float, count: int, generator: torch.Generator) -> Tensor:
    """Ends [R, count + 1] of sections around places [R] on rays, `half` metres to both sides, shifted at random."""
    shift = torch.rand(len(centres), 1, generator=generator, device=generator.device) - 0.5
    ends = torch.arange(count + 1, device=centres.device) + shift
    return (centres[:, None] + half * (2 * ends / count - 1)).clamp(min=0)
