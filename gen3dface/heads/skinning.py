"""Linear blend skinning of a joint tree."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """Axis-angle vectors [..., 3] in radians to rotation matrices [..., 3, 3] by Rodrigues' formula.

    R = I + a K + b K^2 with K the cross-product matrix of the vector, a = sin(t)/t and b = (1 - cos(t))/t^2.
    The series around t = 0 keeps values and gradients finite there.
    """
    square = (axis_angle * axis_angle).sum(-1)
    small = square < 1e-6
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    a = torch.where(small, 1 - square / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / safe)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + a[..., None, None] * cross + b[..., None, None] * (cross @ cross)


def joint_transforms(rotations: Tensor, joints: Tensor, parents: tuple[int, ...]) -> Tensor:
    """World transforms that carry the rest pose into the posed one.

    Args:
        rotations: [..., J, 3, 3] of each joint about itself, relative to its parent.
        joints: [..., J, 3] rest positions, metres.
        parents: parent of each joint, before it in order; -1 for the root.

    Returns:
        [..., J, 3, 4]: rotation and translation to apply to rest-pose points.
    """
    turned: list[Tensor] = []
    placed: list[Tensor] = []
    for j, parent in enumerate(parents):
        if parent < 0:
            turned.append(rotations[..., j, :, :])
            placed.append(joints[..., j, :])
            continue
        offset = joints[..., j, :] - joints[..., parent, :]
        turned.append(turned[parent] @ rotations[..., j, :, :])
        placed.append(placed[parent] + (turned[parent] @ offset[..., None])[..., 0])
    rotation = torch.stack(turned, -3)
    translation = torch.stack(placed, -2) - (rotation @ joints[..., None])[..., 0]
    return torch.cat([rotation, translation[..., None]], -1)


def skin(vertices: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Linear blend skinning: v' = sum_j w_j (R_j v + t_j).

    Args:
        vertices: [..., V, 3] rest pose, metres. weights: [V, J], rows sum to 1.
        transforms: [..., J, 3, 4] from `joint_transforms`.
    """
    blended = torch.einsum("vj,...jrc->...vrc", weights, transforms)
    return (blended[..., :3] @ vertices[..., None])[..., 0] + blended[..., 3]
