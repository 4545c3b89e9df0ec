"""The peers' geometry as plain formulas in float64: cameras, look-ups, unprojection and frusta."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


def interpolate(values: Tensor, places: Tensor) -> Tensor:
    """Multilinear look-up by the corners' weights, zero outside: [C, *sides] at [P, d] (last axis first) -> [C, P]."""
    sides = values.shape[1:]
    floor, out = places.floor(), values.new_zeros(values.shape[0], len(places))
    for corner in product((0, 1), repeat=len(sides)):
        index = floor + torch.tensor(corner)
        weight = (1 - (places - index).abs()).prod(-1)
        inside = torch.stack([(index[:, a] >= 0) & (index[:, a] < n) for a, n in enumerate(reversed(sides))]).all(0)
        at = [index[:, a].clamp(0, n - 1).long() for a, n in enumerate(reversed(sides))]
        out += values[(slice(None), *reversed(at))] * weight * inside
    return out


def camera(azimuth: float, elevation: float, distance: float, focal: float, image: int) -> Pair:
    """A camera that looks at the origin, y up: pose [3, 4] and intrinsics [3, 3] in float32."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = torch.tensor([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    right = torch.tensor([math.cos(a), 0.0, -math.sin(a)])
    rotation = torch.stack([right, torch.linalg.cross(right, back), -back])
    pose = torch.cat([rotation, torch.tensor([[0.0], [0.0], [distance]])], 1)
    return pose, torch.tensor([[focal, 0, image / 2], [0, focal, image / 2], [0, 0, 1]])


def cube(size: int) -> Tensor:
    """[size^3, 3] (x, y, z) of the unit cube, x fastest."""
    axis = torch.linspace(-0.5, 0.5, size).double()
    return torch.stack([torch.stack([x, y, z]) for z in axis for y in axis for x in axis])


def pixels(points: Tensor, pose: Tensor, k: Tensor, scale: float) -> Tensor:
    """Whole-numbered pixel centres in a feature map `scale` times the image: [P, 3] -> [P, 2]."""
    local = points @ pose[:, :3].double().T + pose[:, 3].double()
    image = local @ k.double().T
    return scale * image[:, :2] / image[:, 2:].clamp(min=1e-4)


def unproject(features: Tensor, poses: Tensor, ks: Tensor, image: int, size: int) -> Pair:
    """[N, C, h, h] -> volumes [N, C, V, V, V] and where they were read, [N, V, V, V, 2] in -1..1."""
    side = features.shape[-1]
    places = torch.stack([pixels(cube(size), p, k, side / image) for p, k in zip(poses, ks, strict=True)])
    found = torch.stack([interpolate(f, p) for f, p in zip(features.double(), places, strict=True)])
    grid = places / ((side - 1) / 2) - 1
    return found.unflatten(-1, [size] * 3), grid.unflatten(1, [size] * 3)


def frustum(volume: Tensor, pose: Tensor, k: Tensor, image: int, side: int, depth: int, middle: float | None) -> dict:
    """Sample points of one view and what a volume [C, V, V, V] holds there."""
    rotation, shift = pose[:, :3].double(), pose[:, 3].double()
    centre = torch.linalg.solve(rotation, -shift)
    reach = centre.norm().item() if middle is None else middle
    depths = torch.linspace(0, 1, depth).double() * 2 * 0.86603 + reach - 0.86603
    points = []
    for z in depths:
        for v in range(side):
            for u in range(side):
                ray = torch.tensor([u * image / side, v * image / side, 1.0]).double() * z
                points.append(ray)
    local = torch.linalg.solve(k.double(), torch.stack(points).T).T
    world = torch.linalg.solve(rotation, (local - shift).T).T
    places = (world + 0.5) * (volume.shape[-1] - 1)
    shape = (depth, side, side)
    return {
        "xyz": world.T.unflatten(-1, shape),
        "depth": depths[None, :, None, None],
        "features": interpolate(volume.double(), places).unflatten(-1, shape),
    }
