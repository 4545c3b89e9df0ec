"""What each sample of a picture sees: a triangle, a strand or nothing.

Two ways to find it: plain PyTorch on any device, and compiled loops on the CPU (`visibility_numba`), which are
compared in the tests. Both give a triangle a sample when its centre lies inside, and a strand the samples of a line
as thick as it is. A strand thinner than a sample is not drawn thicker for that: it keeps as many samples as its area
asks for on average, by leaving out whole strands, and single samples only where it is very thin; both are picked by a
hash of their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import rasterize

NEAR = 1e-3  # m
BIAS = 7e-4  # m that a strand may lie below a surface and still be seen: chords of roots and brows
LEAST_STRANDS = 0.25  # thin strands are left out down to this share, then single samples


@dataclass(frozen=True)
class Visibility:
    """Of one view."""

    depth: Tensor  # [H, W] metres along the camera's axis, inf where nothing is
    face: Tensor  # [H, W] int64 number of the triangle, -1 where none is seen
    segment: Tensor  # [H, W] int64 number of the strand point at whose segment's start, -1 where no strand is seen
    along: Tensor  # [H, W] in 0..1 place on that segment


def front_faces(vertices: Tensor, faces: Tensor, two_sided: Tensor, camera: Cameras) -> Tensor:
    """Numbers of the triangles [F, 3] that face the camera, or have two sides ([F] bool)."""
    a, b, c = (vertices.T.contiguous()[:, corner] for corner in faces.T)
    normal = torch.linalg.cross(b - a, c - a, dim=0)
    return (((normal * (camera.centers[0][:, None] - a)).sum(0) > 0) | two_sided).nonzero()[:, 0]


def draw_triangles(vertices: Tensor, faces: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Depth [H, W] in metres (inf where nothing is) and triangle [H, W] (-1) of vertices [V, 3] and faces [F, 3]."""
    seen = rasterize(vertices, faces, camera)
    return seen.depth, seen.face


def draw_strands(
    points: Tensor,  # [S, P, 3] world, metres
    width: Tensor,  # [S, P] metres
    depth: Tensor,  # [H, W] metres: what lies at this depth or beyond is hidden
    camera: Cameras,
) -> tuple[Tensor, Tensor, Tensor]:
    """Depth [H, W], point at the seen segment's start [H, W] (-1: none) and place along it [H, W]."""
    shape = points.shape[:2]
    projected, z = camera.project(points.reshape(-1, 3))
    xy, z = projected.reshape(*shape, 2), z.reshape(shape)
    mean_width = width.mean(1)
    width = width * camera.intrinsics[0, 0, 0] / z
    height, columns = depth.shape
    count = shape[1]
    whole = (mean_width * camera.intrinsics[0, 0, 0] / z[:, 0]).clamp(max=1)
    part = whole.clamp(min=LEAST_STRANDS)
    start = torch.arange(z.numel(), device=z.device).reshape(shape)[:, :-1]
    start = start[_hash(torch.arange(len(z), device=z.device)) < part].reshape(-1)
    xy, z, width = xy.reshape(-1, 2), z.reshape(-1), width.reshape(-1)
    start = start[(z[start] > NEAR) & (z[start + 1] > NEAR)]
    mean = (width[start] + width[start + 1]) * 0.5
    share = (whole / part)[start // count]
    across = xy[start + 1] - xy[start]
    steps = across.abs().amax(-1).ceil().long().clamp(min=1, max=4 * max(height, columns))
    segment = torch.repeat_interleave(start, steps)
    first = torch.repeat_interleave(torch.cumsum(steps, 0) - steps, steps)
    step = torch.arange(len(segment), device=xy.device) - first
    along = (step.to(xy) + 0.5) / torch.repeat_interleave(steps, steps)
    share, mean = torch.repeat_interleave(share, steps), torch.repeat_interleave(mean, steps)
    drawn = (share >= 1) | (_hash(segment * 31 + step) < share)
    return _resolve(*_thick(segment[drawn], along[drawn], mean[drawn], xy), z, depth)


def _thick(segment: Tensor, along: Tensor, mean: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples across each line: segment [M], along [M], pixel [M, 2] (column, row)."""
    layers = (mean + 0.5).long().clamp(min=1)
    across = xy[segment + 1] - xy[segment]
    middle = xy[segment] + across * along[:, None]
    flat = across[:, 0].abs() >= across[:, 1].abs()
    number = torch.arange(len(layers), device=xy.device)
    number = torch.repeat_interleave(number, layers)
    first = torch.repeat_interleave(torch.cumsum(layers, 0) - layers, layers)
    layer = torch.arange(len(number), device=xy.device) - first
    shift = layer.to(xy) - (layers[number] - 1).to(xy) * 0.5
    steep = ~flat[number]
    offset = torch.stack([shift * steep, shift * ~steep], -1)
    return segment[number], along[number], (middle[number] + offset).floor().long()


def _resolve(segment: Tensor, along: Tensor, pixel: Tensor, z: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the nearest of each sample; of equally near ones the first, so that runs agree."""
    height, columns = depth.shape
    inside = ((pixel >= 0) & (pixel < pixel.new_tensor([columns, height]))).all(-1)
    segment, along, pixel = segment[inside], along[inside], pixel[inside]
    flat = pixel[:, 1] * columns + pixel[:, 0]
    at = z[segment] + (z[segment + 1] - z[segment]) * along
    nearest = depth.reshape(-1).clone()
    nearest.scatter_reduce_(0, flat, at, "amin")
    won = ((at == nearest[flat]) & (at < depth.reshape(-1)[flat])).nonzero()[:, 0]
    order = torch.full_like(nearest, len(flat), dtype=torch.int64)
    order.scatter_reduce_(0, flat[won], won, "amin")
    seen = order < len(flat)
    picked = order[seen]
    hit, place = torch.full_like(order, -1), torch.zeros_like(nearest)
    hit[seen], place[seen] = segment[picked], along[picked]
    return nearest.reshape(depth.shape), hit.reshape(depth.shape), place.reshape(depth.shape)


def _hash(number: Tensor) -> Tensor:
    """A fixed scramble of int64 numbers into 0..1, float32."""
    mask = 0xFFFFFFFF
    number = (number * 2654435761) & mask
    number = ((number ^ (number >> 15)) * 2246822519) & mask
    return ((number ^ (number >> 13)) >> 8).to(torch.float32) / float(1 << 24)
