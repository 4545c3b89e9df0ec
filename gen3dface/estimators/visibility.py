"""Which vertices a photo sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize

if TYPE_CHECKING:
    from gen3dface.heads import HeadMesh

_SIDE = 512  # px of the depth map, across the head
_TOLERANCE = 0.003  # metres that a vertex may lie behind the seen surface


def vertex_visibility(mesh: HeadMesh, camera: Cameras) -> Tensor:
    """[V] in 0..1: the cosine between normal and viewer where the vertex is seen, 0 where it is hidden, turned away or
    outside the picture.

    Hidden means more than 3 mm behind the surface that a 512 px depth map of the head sees there.
    """
    pixels, depth = camera.project(mesh.vertices)
    pixels, depth = pixels[0], depth[0]
    inside = (pixels >= 0).all(-1) & (pixels[:, 0] < camera.width) & (pixels[:, 1] < camera.height) & (depth > 0)
    view = torch.nn.functional.normalize(camera.centers[0] - mesh.vertices, dim=-1)
    facing = (mesh.normals() * view).sum(-1).clamp(0, 1)
    window = _window(pixels, camera)
    nearest = rasterize(mesh.vertices, mesh.faces, window).depth
    at = window.project(mesh.vertices)[0][0].floor().long().clamp(0, _SIDE - 1)
    return facing * (inside & (depth < nearest[at[:, 1], at[:, 0]] + _TOLERANCE))


def _window(pixels: Tensor, camera: Cameras) -> Cameras:
    """A square view that just holds the head."""
    low, high = pixels.amin(0), pixels.amax(0)
    side = (high - low).max().item() * 1.02
    corner = (low + high) / 2 - side / 2
    shift = torch.eye(3).to(camera.intrinsics)
    shift[:2, 2] = -corner
    scale = torch.diag(camera.intrinsics.new_tensor([_SIDE / side, _SIDE / side, 1.0]))
    return Cameras(camera.world_to_camera, scale @ shift @ camera.intrinsics, _SIDE, _SIDE)
