"""A coloured, lopsided egg: a surface in closed form, its pictures from all around."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from gen3dface.cameras import Cameras, orbit
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize

RADII = (0.08, 0.12, 0.1)  # metres


def orbiting(count: int = 8, size: int = 64) -> Cameras:
    """Views all around the head's centre, every other one from above."""
    turns = torch.arange(count)
    return orbit(turns * 360.0 / count, 25.0 * (turns % 2), radius=1.8, focal=4.5, size=size)


@lru_cache(maxsize=4)
def egg(detail: int = 48) -> tuple[Tensor, Tensor]:
    """Vertices [V, 3] and outward faces [F, 3] of an ellipsoid, narrower in front: no two sides look alike."""
    azimuth = torch.arange(2 * detail) * (torch.pi / detail)
    polar = (torch.arange(detail) + 0.5) * (torch.pi / detail)
    a, p = (t.reshape(-1) for t in torch.meshgrid(azimuth, polar, indexing="ij"))
    unit = torch.stack([p.sin() * a.sin(), p.cos(), p.sin() * a.cos()], -1)
    points = unit * torch.tensor(RADII)
    points[:, 0] *= 1 - 2.5 * points[:, 2]
    rows = torch.arange(2 * detail)[:, None] * detail + torch.arange(detail - 1)
    after = (rows + detail) % len(points)
    faces = torch.stack([rows, rows + 1, after, rows + 1, after + 1, after], -1).reshape(-1, 3)
    rings = [torch.arange(2 * detail) * detail, torch.arange(2 * detail) * detail + detail - 1]
    poles = torch.cat([points, torch.tensor([[0.0, RADII[1], 0.0], [0.0, -RADII[1], 0.0]])])
    top = torch.stack([torch.full_like(rings[0], len(points)), rings[0], rings[0].roll(-1)], -1)
    bottom = torch.stack([torch.full_like(rings[1], len(points) + 1), rings[1].roll(-1), rings[1]], -1)
    return poles, torch.cat([faces, top, bottom])


def egg_distance(points: Tensor) -> Tensor:
    """How far places [P, 3] lie from the egg, metres, to first order: F / |grad F|."""
    at = points.detach().clone().requires_grad_(True)
    round_again = torch.stack([at[:, 0] / (1 - 2.5 * at[:, 2]), at[:, 1], at[:, 2]], -1) / torch.tensor(RADII)
    level = round_again.norm(dim=1) - 1
    (slope,) = torch.autograd.grad(level.sum(), at)
    return (level / slope.norm(dim=1)).detach().abs()


def painted(points: Tensor) -> Tensor:
    """Colours [P, 3] in 0..1 of places [P, 3]."""
    waves = torch.stack([points @ torch.tensor(w) for w in ((90.0, 40, 0), (0, 80, 60.0), (70.0, 0, -80))], -1)
    return 0.5 + 0.35 * waves.sin()


def pictures(cameras: Cameras, supersample: int = 4) -> MultiViewOutput:
    """The egg as the cameras see it, over white."""
    vertices, faces = egg()
    large = cameras.resized(cameras.height * supersample, cameras.width * supersample)
    images, masks = [], []
    for camera in large:
        seen = rasterize(vertices, faces, camera)
        colour = seen.scatter(painted(seen.gather(vertices, faces)), 1.0)
        both = torch.cat([colour, seen.mask[..., None].float()], -1).permute(2, 0, 1)
        small = torch.nn.functional.avg_pool2d(both, supersample)
        images.append(small[:3])
        masks.append(small[3:])
    return MultiViewOutput(torch.stack(images), torch.stack(masks), cameras)
