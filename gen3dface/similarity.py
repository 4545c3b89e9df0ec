"""Similarities between two frames: scale, turn and shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.cameras import Cameras


@dataclass(frozen=True)
class Similarity:
    """y = scale * rotation @ x + translation."""

    scale: float
    rotation: Tensor  # [3, 3]
    translation: Tensor  # [3] metres

    def __call__(self, points: Tensor) -> Tensor:
        """Points [..., 3] in the other frame."""
        return self.scale * points @ self.rotation.T + self.translation

    def carried_back(self, cameras: Cameras) -> Cameras:
        """Cameras that see x exactly as `cameras` see y: the pictures are the same, depths are 1 / scale as large."""
        moved = cameras.world_to_camera.clone()
        rotation, offset = cameras.world_to_camera[:, :3, :3], cameras.world_to_camera[:, :3, 3]
        moved[:, :3, :3] = rotation @ self.rotation
        moved[:, :3, 3] = (rotation @ self.translation + offset) / self.scale
        return Cameras(moved, cameras.intrinsics, cameras.height, cameras.width)


def best_similarity(source: Tensor, target: Tensor, weights: Tensor) -> Similarity:
    """Weighted least squares over points [P, 3] (Umeyama 1991)."""
    w = (weights / weights.sum()).double()
    source, target = source.double(), target.double()
    a, b = w @ source, w @ target
    covariance = torch.einsum("p,pi,pj->ij", w, target - b, source - a)
    left, values, right = torch.linalg.svd(covariance)
    signs = torch.ones(3, dtype=torch.float64)
    signs[2] = torch.sign(torch.linalg.det(left @ right))
    rotation = (left * signs) @ right
    scale = (values * signs).sum() / (w @ (source - a).square().sum(1))
    return Similarity(scale.item(), rotation.float(), (b - scale * rotation @ a).float())
