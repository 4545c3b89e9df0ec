"""Do adjacent views agree? One view's colours carried to the next through the head's surface."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize
from gen3dface.render import Surface
from gen3dface.texture import observe

_SURE = 0.3  # weight of an observation from which it is compared: seen, and not at a grazing angle


def adjacent_errors(images: Tensor, masks: Tensor, cameras: Cameras, surface: Surface) -> Tensor:
    """Mean absolute colour difference [N] between view i and the view before it, carried over through the surface.

    The views form a ring: the first is compared with the last. Only pixels count that both views cover, on surface
    that both see squarely; NaN where there are none.

    Args:
        images: [N, 3, H, W] in 0..1. masks: [N, 1, H, W] in 0..1.
        surface: the head in the views' expression; whatever it lacks (loose hair) counts as disagreement.
    """
    normals = surface.normals()
    found = []
    for i, camera in enumerate(cameras):
        seen = rasterize(surface.vertices, surface.faces, camera, cull_back=True)
        points = seen.interpolate(surface.vertices, surface.faces)[seen.mask]
        outward = torch.nn.functional.normalize(seen.interpolate(normals, surface.faces)[seen.mask], dim=-1)
        before = observe(images[i - 1], masks[i - 1, 0], cameras[(i - 1) % len(cameras)], surface, points, outward)
        sure = (before.weight > _SURE) & (masks[i, 0][seen.mask] > 0.5)
        apart = (images[i][:, seen.mask].T - before.colour).abs().mean(1)[sure]
        found.append(apart.mean() if len(apart) else apart.new_tensor(float("nan")))
    return torch.stack(found)
