"""Textures from pictures: what each texel looks like in an image, and smooth completion where nobody looked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.raster import Fragments, rasterize
from gen3dface.render import Surface, box_max, box_mean, sample_image

_DEPTH_TOLERANCE = 0.004  # metres that a point may lie behind what the camera sees there
_DEPTH_SIDE = 768  # px of the depth map's longer side
_EDGE = 0.03  # metres of jump between neighbouring pixels that count as an outline
_GRAZING, _FACING = 0.15, 0.75  # cosines to the viewing ray: weight 0 below the first, 1 above the second


@dataclass(frozen=True)
class Observation:
    """What one picture says about P points of a surface."""

    colour: Tensor  # [P, 3] in 0..1, 0 where the point is turned away
    weight: Tensor  # [P] in 0..1, 0 where the point is not seen


def observe(
    image: Tensor, alpha: Tensor, camera: Cameras, surface: Surface, points: Tensor, normals: Tensor
) -> Observation:
    """Look points of a surface up in a picture.

    Args:
        image: [3, H, W] in 0..1. alpha: [H, W] in 0..1, where the picture can be trusted.
        camera: of that picture (N = 1). surface: what may hide the points.
        points, normals: [P, 3] world.
    """
    depth, outline = _depth_and_outline(surface, camera)
    towards = camera.centers - points
    facing = ((normals * towards).sum(-1) / towards.norm(dim=-1) - _GRAZING) / (_FACING - _GRAZING)
    turned = (facing > 0).nonzero()[:, 0]  # all that is looked up
    xy, z = (t[0] for t in camera.project(points[turned]))
    scaled = xy * xy.new_tensor([depth.shape[1] / camera.width, depth.shape[0] / camera.height])
    inside = ((xy >= 0) & (xy < xy.new_tensor([camera.width, camera.height]))).all(-1)
    nearest, edge = sample_image(torch.stack([depth, outline]), scaled).T
    weight = facing[turned].clamp(max=1) * (z < nearest + _DEPTH_TOLERANCE) * inside * (1 - edge)
    weight = weight * sample_image(alpha[None], xy)[:, 0]
    return Observation(
        points.new_zeros(len(points), len(image)).index_copy_(0, turned, sample_image(image, xy)),
        points.new_zeros(len(points)).index_copy_(0, turned, weight),
    )


def _depth_and_outline(surface: Surface, camera: Cameras) -> tuple[Tensor, Tensor]:
    """The surface's depth map and a soft band along its outlines, where colours bleed: both [h, w]."""
    scale = min(1.0, _DEPTH_SIDE / max(camera.height, camera.width))
    small = camera.resized(max(1, round(camera.height * scale)), max(1, round(camera.width * scale)))
    seen = rasterize(surface.vertices, surface.faces, small, cull_back=True)
    far = seen.depth[seen.mask].max() + 1 if seen.mask.any() else torch.tensor(1.0)
    depth = torch.where(seen.mask, seen.depth, far)
    jump = box_max(depth, 1) + box_max(-depth, 1) > _EDGE
    return depth, box_mean(box_max(jump.to(depth), 2), 2)


def edge_laplacian(faces: Tensor, count: int) -> scipy.sparse.csr_matrix:
    """Graph Laplacian [count, count] of a mesh's edges."""
    f = faces.cpu().numpy()
    here, there = f.ravel(), np.roll(f, -1, axis=1).ravel()
    half = scipy.sparse.csr_matrix((np.ones(f.size), (here, there)), shape=(count, count))
    adjacency = (half + half.T).sign().tocsr()
    return (scipy.sparse.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()


def solve_symmetric(matrix: scipy.sparse.spmatrix, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """x of A x = b for a sparse symmetric positive definite A [V, V] and b [V] or [V, C]."""
    # SuperLU's ways with symmetric matrices: half the time of its defaults on a bilaplacian
    factors = scipy.sparse.linalg.splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return factors.solve(right)


def diffuse(
    values: Tensor, confidence: Tensor, laplacian: scipy.sparse.csr_matrix, default: Tensor, pull: float = 1e-5
) -> Tensor:
    """Fill values over a mesh: kept where sure, smooth in between (a screened Poisson equation).

    Args:
        values: [V, C]. confidence: [V] in 0..1. laplacian: from `edge_laplacian`.
        default: [C] or [V, C], drawn to where nothing is known nearby, about 1 / sqrt(pull) edges away.
    """
    sure = confidence.double().numpy() ** 2 * 10
    right = sure[:, None] * values.double().numpy() + pull * default.double().numpy()
    return torch.from_numpy(solve_symmetric(laplacian + scipy.sparse.diags(sure + pull), right)).to(values)


def texels_to_vertices(values: Tensor, weight: Tensor, texels: Fragments, surface: Surface) -> tuple[Tensor, Tensor]:
    """Weighted means of texel values [P, C] at vertices [V, C], and their mean weight [V]."""
    corners = surface.faces[texels.face[texels.mask]]  # [P, 3]
    share = texels.barycentric[texels.mask]
    count = len(surface.vertices)
    area = torch.zeros(count).index_add_(0, corners.reshape(-1), share.reshape(-1))
    part = (share * weight[:, None]).reshape(-1)
    total = torch.zeros(count).index_add_(0, corners.reshape(-1), part)
    summed = torch.zeros(count, values.shape[1])
    summed.index_add_(0, corners.reshape(-1), part[:, None] * values.repeat_interleave(3, 0))
    return summed / total.clamp(min=1e-6)[:, None], total / area.clamp(min=1e-6)


def fill_gutters(texture: Tensor, known: Tensor, steps: int = 12) -> Tensor:
    """Grow a texture [3, S, S] beyond its charts `known` [S, S], so that filtering meets no empty texel.

    A texel next to known ones is their mean; `steps` rings grow in turn, the rest is the mean of all.
    """
    if not known.any():
        return torch.full_like(texture, 0.5)
    away = torch.from_numpy(scipy.ndimage.distance_transform_cdt(~known.cpu().numpy(), "chessboard")).to(known.device)
    row = known.shape[1] + 2  # with a margin, so that each texel has neighbours
    around = torch.tensor([-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1], device=known.device)
    planes = F.pad(torch.cat([texture * known, known[None].to(texture)]), (1, 1, 1, 1)).flatten(1).T.contiguous()
    for step in range(1, steps + 1):
        y, x = (away == step).nonzero().T
        ring = (y + 1) * row + x + 1
        near = F.embedding_bag(ring[:, None] + around, planes, mode="sum")
        planes[ring] = near / near[:, 3:]
    filled = planes[:, :3].T.unflatten(1, (-1, row))[:, 1:-1, 1:-1]
    mean = texture[:, known].mean(1)[:, None, None]
    return torch.where(away <= steps, filled, mean)
