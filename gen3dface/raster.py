"""One rasteriser behind one function: which triangle each pixel sees, where in it, and how far away.

`rasterize` lists for every triangle the pixels inside it, row by row, and keeps each pixel's nearest triangle by a
scatter-min: nothing to compile, the same code on CPU and GPU, and the same bytes on every run.
`rasterize_reference` is its plain twin: every pixel against every triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras

_NEAR = 1e-3  # metres; a triangle with a corner nearer than this is not drawn
_CHUNK = 1 << 18  # (triangle, pixel) pairs held at a time
_NOTHING = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Fragments:
    """What each pixel of one view sees; P of them see a triangle."""

    face: Tensor  # [H, W] int64, -1 where nothing is
    barycentric: Tensor  # [H, W, 3] perspective-correct, 0 where nothing is
    depth: Tensor  # [H, W] metres along the camera's z axis, inf where nothing is

    @cached_property
    def mask(self) -> Tensor:
        """[H, W] bool, True where a triangle is seen."""
        return self.face >= 0

    @cached_property
    def pixels(self) -> Tensor:
        """[P] int64, row by row: the flat indices of the pixels that see a triangle."""
        return self.mask.flatten().nonzero()[:, 0]

    @cached_property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The triangles [P] and barycentric weights [P, 3] of those pixels."""
        weights = self.barycentric.flatten(0, 1).index_select(0, self.pixels)
        return self.face.flatten().index_select(0, self.pixels), weights

    def gather(self, attributes: Tensor, faces: Tensor) -> Tensor:
        """Attributes [V, C] of the corners listed in `faces` [F, 3] at the pixels that see something, [P, C]."""
        face, weights = self.seen
        return F.embedding_bag(faces.index_select(0, face), attributes, per_sample_weights=weights, mode="sum")

    def scatter(self, values: Tensor, background: float | Tensor = 0.0) -> Tensor:
        """Values [P, ...] of the pixels that see something, as an image [H, W, ...] over a background [...]."""
        behind = torch.as_tensor(background).to(values).expand(self.face.numel(), *values.shape[1:])
        return behind.clone().index_copy_(0, self.pixels, values).unflatten(0, self.face.shape)

    def interpolate(self, attributes: Tensor, faces: Tensor) -> Tensor:
        """Attributes [V, C] of the corners listed in `faces` [F, 3] -> [H, W, C], 0 where nothing is seen."""
        return self.scatter(self.gather(attributes, faces))


def rasterize(vertices: Tensor, faces: Tensor, camera: Cameras, cull_back: bool = False) -> Fragments:
    """Draw a mesh as one camera sees it.

    Args:
        vertices: [V, 3] world, metres. faces: [F, 3] int64.
        camera: one camera (N = 1).
        cull_back: leave out triangles that face away (counter-clockwise from outside is the front).
    """
    corners, z = _screen(vertices, faces, camera)
    drawable = _drawable(corners, z, camera, cull_back)
    pixels, nearest = _nearest(corners[..., drawable], z[:, drawable], camera)
    seen = drawable[nearest]
    centres = torch.stack([pixels % camera.width, pixels // camera.width]).to(z) + 0.5
    flat = _flat_weights(centres, _take(corners, seen))
    weights, depth = _in_perspective(flat, _take(z, seen))

    def image(values: Tensor, nothing: float) -> Tensor:
        out = values.new_full((camera.height * camera.width, *values.shape[1:]), nothing)
        return out.index_copy_(0, pixels, values).unflatten(0, (camera.height, camera.width))

    return Fragments(image(seen, -1), image(weights.T, 0.0), image(depth, torch.inf))


def rasterize_uv(uvs: Tensor, uv_faces: Tensor, size: int) -> Fragments:
    """Which triangle each texel of a square texture belongs to.

    Args:
        uvs: [T, 2] in 0..1, v up. uv_faces: [F, 3] int64. size: texels a side.

    Returns:
        Fragments over [size, size] texels, row 0 at v = 1; depth is 1 wherever a triangle lies.
    """
    flipped = torch.stack([uvs[:, 0], 1 - uvs[:, 1], torch.ones_like(uvs[:, 0])], -1)
    scale = torch.diag(uvs.new_tensor([size, size, 1.0]))
    camera = Cameras(torch.eye(4).to(uvs)[None], scale[None], size, size)
    return rasterize(flipped, uv_faces, camera)


def rasterize_reference(vertices: Tensor, faces: Tensor, camera: Cameras) -> Fragments:
    """The plain twin of `rasterize`: each pixel against every triangle, O(F H W) memory."""
    corners, z = _screen(vertices, faces, camera)
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    points = torch.stack([x, y]).reshape(2, 1, -1).to(z) + 0.5
    flat = _flat_weights(points, corners[..., None])
    weights, at = _in_perspective(flat, z[..., None])
    at = torch.where((flat >= 0).all(0) & (z > _NEAR).all(0)[:, None], at, torch.inf)
    depth, owner = at.min(0)
    seen = depth.isfinite()
    chosen = weights[:, owner, torch.arange(len(owner))] * seen
    shape = (camera.height, camera.width)
    return Fragments(torch.where(seen, owner, -1).reshape(shape), chosen.T.reshape(*shape, 3), depth.reshape(shape))


def _screen(vertices: Tensor, faces: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Corners in pixels [2, 3, F] (coordinate, corner, triangle) and their depth [3, F]."""
    xy, depth = camera.to(vertices.device, vertices.dtype).project(vertices)
    return xy[0].T[:, faces.T].contiguous(), depth[0][faces.T].contiguous()


def _take(values: Tensor, index: Tensor) -> Tensor:
    """values[..., index], several times as fast on the CPU."""
    return values.gather(-1, index.expand(*values.shape[:-1], -1))


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return p[0] * q[1] - p[1] * q[0]


def _flat_weights(points: Tensor, corners: Tensor) -> Tensor:
    """Barycentric weights on the screen [3, ...] of points [2, ...] in triangles [2, 3, ...]; 0 area: not a number."""
    a, b, c = corners.unbind(1)
    to_a, to_b, to_c = a - points, b - points, c - points
    return torch.stack([_cross(to_b, to_c), _cross(to_c, to_a), _cross(to_a, to_b)]) / _cross(b - a, c - a)


def _in_perspective(flat: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective-correct weights [3, ...] and depth [...] from weights on the screen and the corners' z [3, ...]."""
    over_z = flat / z
    at = 1 / over_z.sum(0)
    return over_z * at, at


def _drawable(corners: Tensor, z: Tensor, camera: Cameras, cull_back: bool) -> Tensor:
    """Indices of the triangles that can touch a pixel's centre."""
    low, high = corners.amin(1), corners.amax(1)
    keep = (z > _NEAR).all(0) & (high > 0.5).all(0) & (low[0] < camera.width) & (low[1] < camera.height)
    a, b, c = corners.unbind(1)
    turn = _cross(b - a, c - a)  # y points down on the screen, so a front face turns clockwise there
    return (keep & (turn < 0 if cull_back else turn != 0)).nonzero()[:, 0]


def _nearest(corners: Tensor, z: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """The flat indices of pixels that see some of the triangles [2, 3, T] at z [3, T], and which: [P] each.

    Depth and triangle are compared as one integer (positive floats are in order as bits): of equally near triangles
    the lowest wins, so that runs agree.
    """
    triangle, row, first, count = _spans(corners, camera)
    over_z, step = _inverse_depth(corners, z, triangle, torch.stack([first, row]).to(z) + 0.5)
    start = row * camera.width + first
    best = torch.full((camera.height * camera.width,), _NOTHING, device=z.device)
    for part in _chunks(count):
        length = count[part]
        span = torch.repeat_interleave(part, length)
        along = torch.arange(len(span), device=z.device)
        along -= torch.repeat_interleave(torch.cumsum(length, 0) - length, length)
        depth = 1 / (_take(over_z, span) + _take(step, span) * along)
        key = (depth.float().view(torch.int32).long() << 32) | _take(triangle, span)
        best.scatter_reduce_(0, _take(start, span) + along, key, "amin")
    pixels = (best < _NOTHING).nonzero()[:, 0]
    return pixels, best[pixels] & 0xFFFFFFFF


def _spans(corners: Tensor, camera: Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pixels inside triangles [2, 3, T], row by row: triangle, row, first column and how many columns, [S] each.

    Each edge is walked down from its upper end, so that triangles which share it leave no gap there.
    """
    top = (corners[1].amin(0) - 0.5).ceil().clamp(min=0).long()
    bottom = (corners[1].amax(0) - 0.5).floor().clamp(max=camera.height - 1).long()
    rows = (bottom - top + 1).clamp(min=0)
    triangle = torch.repeat_interleave(rows)
    row = torch.arange(len(triangle), device=rows.device) + (top + rows - torch.cumsum(rows, 0))[triangle]
    height = row.to(corners) + 0.5
    following = corners.roll(-1, 1)
    turned = corners[1] > following[1]
    upper, lower = torch.where(turned, following, corners), torch.where(turned, corners, following)
    slope = (lower - upper)[0] / (lower - upper)[1]  # not finite where an edge is level: the two others end there
    (x, y), end, slope = (_take(t, triangle) for t in (upper, lower[1], slope))
    crossed = (y <= height) & (height <= end) & slope.isfinite()
    x = x + (height - y) * slope
    first = (torch.where(crossed, x, torch.inf).amin(0) - 0.5).ceil().clamp(0, camera.width).long()
    last = (torch.where(crossed, x, -torch.inf).amax(0) - 0.5).floor().clamp(-1, camera.width - 1).long()
    some = (last >= first).nonzero()[:, 0]
    return triangle[some], row[some], first[some], (last - first + 1)[some]


def _inverse_depth(corners: Tensor, z: Tensor, triangle: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """1 / z of the triangles [S] at points [2, S], and its growth a pixel to the right: it is linear on the screen."""
    a, b, c = corners.unbind(1)
    over_z, rise_b, rise_c = 1 / z[0], 1 / z[1] - 1 / z[0], 1 / z[2] - 1 / z[0]
    right = (rise_b * (c - a)[1] - rise_c * (b - a)[1]) / _cross(b - a, c - a)
    down = (rise_c * (b - a)[0] - rise_b * (c - a)[0]) / _cross(b - a, c - a)
    over_z, right, down, x, y = _take(torch.stack([over_z, right, down, *a]), triangle)
    return over_z + right * (points[0] - x) + down * (points[1] - y), right


def _chunks(count: Tensor) -> list[Tensor]:
    """Split spans so that each part has about `_CHUNK` pixels."""
    group = torch.cumsum(count, 0) // _CHUNK
    return list(torch.arange(len(count), device=count.device).split(torch.bincount(group).tolist()))
