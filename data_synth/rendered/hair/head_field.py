"""Distance to the skin of the mean head, and how a given head differs from it, both on grids.

Hair grows on the mean head; what grew is then carried along by the displacement of the skin near it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.heads import HeadModel

OUTER = ("face", "scalp", "ears", "neck", "shoulders")
_LOW = (-0.2, -0.26, -0.2)  # m
_HIGH = (0.202, 0.202, 0.202)
_FINE, _COARSE = 0.006, 0.0125  # m, of the distance and of the displacement
_NEIGHBOURS = 6
_FINE_NODES = tuple(round((b - a) / _FINE) + 1 for a, b in zip(_LOW, _HIGH, strict=True))  # along x, y, z


@dataclass(frozen=True)
class HeadField:
    """Grids around the mean head of a model."""

    distance: Tensor  # [D H W, 4] signed distance in metres (positive outside) and its unit gradient
    nearest: Tensor  # [M, k] skin vertices near each coarse node
    weights: Tensor  # [M, k], rows sum to 1
    coarse: tuple[int, int, int]
    template: Tensor  # [V, 3]

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance [...] and outward unit gradient [..., 3] at points [..., 3] of the mean head's space.

        First order from the nearest node.
        """
        place = (points - points.new_tensor(_LOW)) / _FINE
        node = place.round().clamp(min=0).minimum(points.new_tensor(_FINE_NODES) - 1)
        strides = points.new_tensor([1, _FINE_NODES[0], _FINE_NODES[0] * _FINE_NODES[1]])
        found = self.distance[(node * strides).sum(-1).long()]
        out = found[..., 1:]
        return found[..., 0] + ((place - node) * out).sum(-1) * _FINE, out

    def displacement(self, vertices: Tensor, points: Tensor) -> Tensor:
        """How far a head with these vertices [V, 3] carries points [..., 3] of the mean head's space."""
        moved = vertices - self.template
        nodes = (moved[self.nearest] * self.weights[..., None]).sum(1)
        return _sample(nodes.T.reshape(3, *self.coarse), points)

    def pushed_out(self, points: Tensor, least: float) -> Tensor:
        """The points, those nearer to the skin than `least` metres (or inside, down to 2 cm) moved out to it."""
        distance, out = self.at(points)
        return points + out * (least - distance).clamp(0, 0.02)[..., None]

    def to(self, device: torch.device | str) -> HeadField:
        """The same field on another device."""
        tensors = {name: getattr(self, name).to(device) for name in ("distance", "nearest", "weights", "template")}
        return replace(self, **tensors)


def head_field(model: HeadModel) -> HeadField:
    """Measure a model's mean head: about a second, once a process."""
    outer = torch.stack([model.regions[name] for name in OUTER]).any(0).nonzero()[:, 0].numpy()
    skin = model.template.numpy()[outer]
    normals = model.mesh().normals().numpy()[outer]
    tree = cKDTree(skin)
    fine, shape = _nodes(_FINE)
    distance, index = tree.query(fine, k=4)
    weight = 1 / (distance + 5e-4) ** 2
    side = (((fine[:, None] - skin[index]) * normals[index]).sum(-1) * weight).sum(1)
    signed = torch.from_numpy((np.sign(side) * distance[:, 0]).astype(np.float32).reshape(shape))
    smooth = F.avg_pool3d(F.pad(signed[None, None], (1,) * 6, mode="replicate"), 3, 1)[0, 0]
    gradient = torch.stack(torch.gradient(smooth)[::-1])
    coarse, coarse_shape = _nodes(_COARSE)
    reach, near = tree.query(coarse, k=_NEIGHBOURS)
    share = 1 / (reach + 4e-3) ** 2
    share /= share.sum(1, keepdims=True)
    return HeadField(
        torch.cat([signed[None], F.normalize(gradient, dim=0)]).reshape(4, -1).T.contiguous(),
        torch.from_numpy(outer[near]),
        torch.from_numpy(share.astype(np.float32)),
        coarse_shape,
        model.template,
    )


def _nodes(step: float) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Grid nodes [M, 3] (x fastest) from corner to corner, and their numbers along z, y, x."""
    axes = [np.linspace(a, b, round((b - a) / step) + 1) for a, b in zip(_LOW, _HIGH, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    return np.stack([x, y, z], -1).reshape(-1, 3), (len(axes[2]), len(axes[1]), len(axes[0]))


def _sample(grid: Tensor, points: Tensor) -> Tensor:
    """Trilinear look-up of nodes [C, D, H, W] at points [..., 3] -> [..., C]."""
    low, high = points.new_tensor(_LOW), points.new_tensor(_HIGH)
    place = ((points.reshape(-1, 3) - low) / (high - low) * 2 - 1).reshape(1, 1, 1, -1, 3)
    found = F.grid_sample(grid[None], place, align_corners=True, padding_mode="border")
    return found[0, :, 0, 0].T.reshape(*points.shape[:-1], len(grid))
