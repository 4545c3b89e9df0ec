"""Detail finer than a mesh as a normal map in tangent space, and the tangents that it is told in.

glTF 2.0's conventions: red along the tangent (growing u), green along the bitangent (growing v, which points up in the
picture), blue along the normal; 128 is zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.raster import rasterize_uv
from gen3dface.render import Surface, vertex_normals

if TYPE_CHECKING:
    from gen3dface.recon.extraction import Mesh

_NEAREST = 8  # vertices between which the fine normals are blended
_WIDTH = 0.7  # of the fine mesh's median edge: deviation of the Gaussian by which they are
_REACH = 0.004  # metres from which a fine surface is another one
_ALIKE = 0.5  # cosine between the normals, from which the fine surface is the same side
_TINY = 1e-12
FLAT = (128, 128, 255)


def corner_tangents(surface: Surface, normals: Tensor) -> Tensor:
    """[T, 4] the unit tangent at each texture coordinate, and 1 or -1: bitangent = it * (normal x tangent).

    Area-weighted means over the triangles that share the coordinate, made perpendicular to the vertex's normal [V, 3].
    """
    a, b, c = surface.vertices[surface.faces].unbind(1)
    ua, ub, uc = surface.uvs[surface.uv_faces].unbind(1)
    (du1, dv1), (du2, dv2) = (ub - ua).unbind(1), (uc - ua).unbind(1)
    sign = (du1 * dv2 - du2 * dv1).sign()[:, None]
    along = sign * ((b - a) * dv2[:, None] - (c - a) * dv1[:, None])
    across = sign * ((c - a) * du1[:, None] - (b - a) * du2[:, None])
    corners, count = surface.uv_faces.reshape(-1), len(surface.uvs)
    tangent, bitangent, normal = (
        torch.zeros(count, 3).to(along).index_add_(0, corners, values)
        for values in (*(v.repeat_interleave(3, 0) for v in (along, across)), normals[surface.faces.reshape(-1)])
    )
    normal = F.normalize(normal, dim=1, eps=_TINY)
    flat = tangent - (tangent * normal).sum(1, keepdim=True) * normal
    tangent = torch.where(flat.norm(dim=1, keepdim=True) > _TINY, flat, _any_across(normal))
    tangent = F.normalize(tangent, dim=1, eps=_TINY)
    hand = (torch.linalg.cross(normal, tangent) * bitangent).sum(1, keepdim=True)
    return torch.cat([tangent, torch.where(hand < 0, -1.0, 1.0)], 1)


def baked_normals(surface: Surface, fine: Mesh, size: int, where: Tensor | None = None) -> NDArray[np.uint8]:
    """[S, S, 3] the normals of a finer mesh nearby as a surface's normal map; flat where there is none near.

    Args:
        size: texels a side. where: [V] bool, the vertices that have detail (default: all).
    """
    normals = surface.normals()
    texels = rasterize_uv(surface.uvs, surface.uv_faces, size)
    frame = corner_tangents(surface, normals)
    normal = F.normalize(texels.gather(normals, surface.faces), dim=1)
    tangent = texels.gather(frame, surface.uv_faces)
    hand, tangent = tangent[:, 3:].sign(), tangent[:, :3]
    tangent = F.normalize(tangent - (tangent * normal).sum(1, keepdim=True) * normal, dim=1, eps=_TINY)
    bitangent = hand * torch.linalg.cross(normal, tangent)
    seen = _fine_normals(texels.gather(surface.vertices, surface.faces), normal, fine)
    if where is not None:
        flat = texels.gather(where.to(normal)[:, None], surface.faces) < 1
        seen = torch.where(flat, normal, seen)
    told = torch.stack([(seen * axis).sum(1) for axis in (tangent, bitangent, normal)], 1)
    found = torch.tensor(FLAT, dtype=torch.uint8).repeat(size, size, 1)
    coded = ((told + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
    found.view(-1, 3)[texels.pixels.cpu()] = coded
    return found.numpy()


def _fine_normals(points: Tensor, normals: Tensor, fine: Mesh) -> Tensor:
    """[P, 3] unit normals of the fine mesh nearest to points, their own normals where it is not there."""
    fine_normals = vertex_normals(fine.vertices, fine.faces)
    first, second = fine.vertices[fine.faces[:, :2]].unbind(1)
    width = _WIDTH * (first - second).norm(dim=1).median()
    apart, rows = cKDTree(fine.vertices.numpy()).query(points.cpu().numpy(), _NEAREST)
    near = torch.from_numpy(apart).float()
    weight = ((near[:, :1].square() - near.square()) / (2 * width**2)).exp()
    weight = (weight * (near < _REACH)).to(points)
    blended = (weight[..., None] * fine_normals.to(points)[torch.from_numpy(rows).to(points.device)]).sum(1)
    blended = F.normalize(blended, dim=1, eps=_TINY)
    alike = (blended * normals).sum(1, keepdim=True) > _ALIKE
    return torch.where(alike, blended, normals)


def _any_across(normals: Tensor) -> Tensor:
    """[P, 3] something perpendicular to unit vectors."""
    other = torch.where((normals[:, :1].abs() < 0.9), normals.new_tensor([1.0, 0, 0]), normals.new_tensor([0, 1.0, 0]))
    return torch.linalg.cross(normals, other)
