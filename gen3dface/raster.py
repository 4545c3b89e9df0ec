"""One rasteriser behind one function: which triangle each pixel sees, where in it, and how far away.

`rasterize` lists for every triangle the pixels of its bounding box, tests them all at once and keeps the nearest
by a scatter-min: nothing to compile, the same code on CPU and GPU, and the same bytes on every run.
`rasterize_reference` is its plain twin: every pixel against every triangle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.cameras import Cameras

_NEAR = 1e-3  # metres; a triangle with a corner nearer than this is not drawn
_CHUNK = 1 << 21  # candidate (triangle, pixel) pairs held at a time


@dataclass(frozen=True)
class Fragments:
    """What each pixel of one view sees."""

    face: Tensor  # [H, W] int64, -1 where nothing is
    barycentric: Tensor  # [H, W, 3] perspective-correct, 0 where nothing is
    depth: Tensor  # [H, W] metres along the camera's z axis, inf where nothing is

    @property
    def mask(self) -> Tensor:
        """[H, W] bool, True where a triangle is seen."""
        return self.face >= 0

    def interpolate(self, attributes: Tensor, faces: Tensor) -> Tensor:
        """Attributes [V, C] of the corners listed in `faces` [F, 3] -> [H, W, C], 0 where nothing is seen."""
        seen = self.mask
        out = attributes.new_zeros(*self.face.shape, attributes.shape[-1])
        corners = attributes[faces[self.face[seen]]]  # [P, 3, C]
        out[seen] = (corners * self.barycentric[seen][..., None]).sum(-2)
        return out


def rasterize(vertices: Tensor, faces: Tensor, camera: Cameras, cull_back: bool = False) -> Fragments:
    """Draw a mesh as one camera sees it.

    Args:
        vertices: [V, 3] world, metres. faces: [F, 3] int64.
        camera: one camera (N = 1).
        cull_back: leave out triangles that face away (counter-clockwise from outside is the front).
    """
    screen, depth = _screen(vertices, camera)
    corners, z = screen[faces], depth[faces]  # [F, 3, 2], [F, 3]
    index = _drawable(corners, z, camera, cull_back)
    pixels, depths, owners, weights = _candidates(corners[index], z[index], index, camera)
    return _resolve(pixels, depths, owners, weights, camera, vertices.dtype)


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
    screen, depth = _screen(vertices, camera)
    corners, z = screen[faces], depth[faces]
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    points = torch.stack([x, y], -1).reshape(1, -1, 2).to(screen) + 0.5
    inside, weights, at = _edge_test(points, corners[:, None], z[:, None])
    at = torch.where(inside & (z > _NEAR).all(-1)[:, None], at, torch.inf)
    nearest, owner = at.min(0)
    seen = nearest.isfinite()
    chosen = weights[owner, torch.arange(len(owner))] * seen[:, None]
    shape = (camera.height, camera.width)
    return Fragments(torch.where(seen, owner, -1).reshape(shape), chosen.reshape(*shape, 3), nearest.reshape(shape))


def _screen(vertices: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    xy, depth = camera.to(vertices.device, vertices.dtype).project(vertices)
    return xy[0], depth[0]


def _edge_test(points: Tensor, corners: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inside flags, perspective-correct weights and depth of points [.., 2] in triangles [.., 3, 2] at z [.., 3]."""
    a, b, c = corners.unbind(-2)
    area = _cross(b - a, c - a)
    to_a, to_b, to_c = a - points, b - points, c - points
    flat = torch.stack([_cross(to_b, to_c), _cross(to_c, to_a), _cross(to_a, to_b)], -1)
    flat = flat / torch.where(area == 0, torch.inf, area)[..., None]
    inside = (flat >= 0).all(-1) & (area != 0)
    over_z = flat / z
    at = 1 / over_z.sum(-1)
    return inside, over_z * at[..., None], at


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]


def _drawable(corners: Tensor, z: Tensor, camera: Cameras, cull_back: bool) -> Tensor:
    """Indices of the triangles that can touch a pixel's centre."""
    low, high = corners.amin(1), corners.amax(1)
    keep = (z > _NEAR).all(-1) & (high > 0.5).all(-1)
    keep &= (low[:, 0] < camera.width) & (low[:, 1] < camera.height)
    if cull_back:
        # y points down on the screen, so a front face turns clockwise there
        keep &= _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) < 0
    return keep.nonzero()[:, 0]


def _candidates(corners: Tensor, z: Tensor, index: Tensor, camera: Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All (pixel, triangle) pairs that hit: flat pixel, depth, triangle, weights."""
    limit = torch.tensor([camera.width, camera.height], device=corners.device)
    low = (corners.amin(1) - 0.5).ceil().long().clamp(min=0)
    high = torch.minimum((corners.amax(1) - 0.5).floor().long(), limit - 1)
    span = (high - low + 1).clamp(min=0)
    count = span.prod(-1)
    hits = []
    for part in _chunks(count):
        owner = torch.repeat_interleave(part, count[part])
        start = torch.cumsum(count[part], 0) - count[part]
        offset = torch.arange(len(owner), device=owner.device) - torch.repeat_interleave(start, count[part])
        pixel = low[owner] + torch.stack([offset % span[owner, 0], offset // span[owner, 0]], -1)
        inside, weights, at = _edge_test(pixel.to(corners) + 0.5, corners[owner], z[owner])
        flat = pixel[inside, 1] * camera.width + pixel[inside, 0]
        hits.append((flat, at[inside], index[owner[inside]], weights[inside]))
    if not hits:
        return index.new_zeros(0), z.new_zeros(0), index.new_zeros(0), z.new_zeros(0, 3)
    flats, ats, owners, all_weights = zip(*hits, strict=True)
    return torch.cat(flats), torch.cat(ats), torch.cat(owners), torch.cat(all_weights)


def _chunks(count: Tensor) -> list[Tensor]:
    """Split triangles so that each part has about `_CHUNK` candidate pixels."""
    nonempty = count.nonzero()[:, 0]
    if len(nonempty) == 0:
        return []
    group = torch.cumsum(count[nonempty], 0) // _CHUNK
    return [part for part in torch.split(nonempty, torch.bincount(group).tolist()) if len(part)]


def _resolve(
    pixels: Tensor, depths: Tensor, owners: Tensor, weights: Tensor, camera: Cameras, dtype: torch.dtype
) -> Fragments:
    """Keep the nearest hit of each pixel; of equally near ones the lowest triangle, so that runs agree."""
    size, device = camera.height * camera.width, pixels.device
    nearest = torch.full((size,), torch.inf, dtype=dtype, device=device)
    nearest.scatter_reduce_(0, pixels, depths, "amin")
    first = depths == nearest[pixels]
    pixels, owners, weights = pixels[first], owners[first], weights[first]
    face = torch.full((size,), torch.iinfo(torch.int64).max, device=device)
    face.scatter_reduce_(0, pixels, owners, "amin")
    won = owners == face[pixels]
    barycentric = torch.zeros(size, 3, dtype=dtype, device=device)
    barycentric[pixels[won]] = weights[won]
    face = torch.where(nearest.isfinite(), face, -1)
    shape = (camera.height, camera.width)
    return Fragments(face.reshape(shape), barycentric.reshape(*shape, 3), nearest.reshape(shape))
