"""Where a mesh's outlines run in each view, and how far from the masks' own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gen3dface.recon.extraction import directed_edges

_FINER = 2  # a mask's outline is found to this share of a pixel
_NEAR = 2.5  # px from the edge of the covered pixels within which an outline is not hidden by what lies before it
_FRAME = 2.0  # px of the picture's edge where outlines are cut off


@dataclass(frozen=True)
class Outline:
    """Points of a mesh's outline in one view: on its edges, where these turn from facing the camera to facing away."""

    edges: Tensor  # [Q, 2] vertices
    shares: Tensor  # [Q, 1] how far along

    def points(self, vertices: Tensor) -> Tensor:
        """[Q, 3] in the world."""
        first, second = vertices[self.edges].unbind(1)
        return torch.lerp(first, second, self.shares)


def outline_of(edges: Tensor, facing: Tensor, pixels: Tensor, covered: Tensor) -> Outline:
    """The outline against the background.

    Args:
        edges: [E, 2]. facing: [V] cosines between normals and viewer. pixels: [V, 2].
        covered: [H, W] bool, what the mesh covers.
    """
    height, width = covered.shape
    first, second = facing[edges].unbind(1)
    turning = (first * second < 0).nonzero()[:, 0]
    edges, shares = edges[turning], (first / (first - second))[turning, None]
    start, end = pixels[edges].unbind(1)
    at = torch.lerp(start, end, shares)
    depth = torch.from_numpy(distance_transform_edt(covered.cpu().numpy())).to(at)
    column, row = at.floor().long().unbind(1)
    open_ = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)] < _NEAR
    within = ((at > _FRAME) & (at < at.new_tensor([width, height]) - _FRAME)).all(1)
    return Outline(edges[open_ & within], shares[open_ & within])


def unique_edges(faces: Tensor) -> Tensor:
    """[E, 2] each edge of triangles [F, 3] once."""
    pairs = torch.from_numpy(directed_edges(faces.cpu().numpy())).to(faces.device)
    return pairs.sort(1).values.unique(dim=0)


def mask_distances(masks: Tensor) -> Tensor:
    """Pixels [N, 1, H, W] to the outlines of masks [N, 1, H, W], positive outside."""
    fine = F.interpolate(masks, scale_factor=_FINER, mode="bicubic", align_corners=False)[:, 0] > 0.5
    found = [_signed(mask) for mask in fine.cpu().numpy()]
    return F.avg_pool2d(torch.from_numpy(np.stack(found)).to(masks)[:, None], _FINER) / _FINER


def _signed(inside: np.ndarray) -> np.ndarray:
    outer, inner = distance_transform_edt(~inside), distance_transform_edt(inside)
    return np.where(inside, 0.5 - inner, outer - 0.5)
