"""Vertex normals."""

from __future__ import annotations

import torch
from torch import Tensor


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals, outward for counter-clockwise faces.

    Args:
        vertices: [..., V, 3]. faces: [F, 3] int64.

    Returns:
        [..., V, 3]; zero at vertices without a face of positive area.
    """
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals = normals.index_add(-2, faces[:, k], face_normals)
    return torch.nn.functional.normalize(normals, dim=-1, eps=1e-20)
