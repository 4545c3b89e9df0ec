"""Sparse 3D convolution in plain PyTorch: look neighbours up in a table, gather, one matrix product.

The tables depend on the voxels alone, so they are made once and passed in; a convolution is then the same code on any
device. Rules as in SparseConvNet (Graham et al., 2018): a submanifold convolution keeps the set of active voxels, a
strided one activates each output that an active input can reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 3
_TAPS = KERNEL**3


@dataclass(frozen=True)
class Voxels:
    """Active voxels, each once, in ascending order of (batch row, z, y, x)."""

    indices: Tensor  # [S, 4] int64: batch row, z, y, x
    shape: tuple[int, int, int]  # D, H, W
    batch: int

    def keys(self, indices: Tensor) -> Tensor:
        """One number a voxel, ascending in the voxels' order: [..., 4] -> [...]."""
        row, z, y, x = indices.unbind(-1)
        depth, height, width = self.shape
        return ((row * depth + z) * height + y) * width + x

    def to(self, device: torch.device | str) -> Voxels:
        """The same voxels on another device."""
        return Voxels(self.indices.to(device), self.shape, self.batch)


def unique_voxels(indices: Tensor, shape: tuple[int, int, int], batch: int) -> tuple[Voxels, Tensor]:
    """The distinct ones among voxels [P, 4], and for each of the P which of them it is."""
    # one number a voxel sorts some twenty times faster than rows of four
    keys, owner = torch.unique(Voxels(indices, shape, batch).keys(indices), return_inverse=True)
    unique = torch.stack(torch.unravel_index(keys, (batch, *shape)), -1)
    return Voxels(unique, shape, batch), owner


def voxel_mean(features: Tensor, owner: Tensor, count: int) -> Tensor:
    """Mean of the features [P, C] that share a voxel: [count, C]."""
    total = features.new_zeros(count, features.shape[1]).index_add_(0, owner, features)
    points = torch.bincount(owner, minlength=count).clamp(min=1)
    return total / points[:, None].to(features.dtype)


def submanifold_table(voxels: Voxels) -> Tensor:
    """For each active voxel its 27 neighbours among the active ones: [S, 27] int64, S where there is none."""
    taps = _taps(voxels.indices)
    return _look_up(voxels, voxels.indices[:, None] + taps)


def strided_voxels(voxels: Voxels) -> tuple[Voxels, Tensor]:
    """Voxels after a convolution of kernel 3, stride 2, padding 1, and the table [S', 27] into the inputs."""
    shape = (_halved(voxels.shape[0]), _halved(voxels.shape[1]), _halved(voxels.shape[2]))
    reached = voxels.indices[:, None] - _taps(voxels.indices)  # 2 o + tap = input
    position = reached[..., 1:]
    limit = torch.tensor(shape, device=position.device)
    fits = (position % 2 == 0).all(-1) & (position >= 0).all(-1) & (position < 2 * limit).all(-1)
    halves = torch.cat([reached[..., :1], position // 2], -1)[fits]
    out, _ = unique_voxels(halves, shape, voxels.batch)
    centers = torch.cat([out.indices[:, :1], 2 * out.indices[:, 1:]], -1)
    return out, _look_up(voxels, centers[:, None] + _taps(centers))


def to_dense(features: Tensor, voxels: Voxels) -> Tensor:
    """Features [S, C] written into a grid of zeros: [batch, C, D, H, W]."""
    grid = features.new_zeros(voxels.batch * math.prod(voxels.shape), features.shape[1])
    grid = grid.index_copy(0, voxels.keys(voxels.indices), features)
    return grid.reshape(voxels.batch, *voxels.shape, -1).permute(0, 4, 1, 2, 3).contiguous()


class SparseConv3d(nn.Module):
    """3x3x3 convolution over active voxels, without bias; the weight is laid out as in `nn.Conv3d`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, KERNEL, KERNEL, KERNEL))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, features: Tensor, table: Tensor) -> Tensor:
        """features [S, C_in], table [S', 27] of rows of `features`, S where there is none -> [S', C_out]."""
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
        # most neighbours are absent: on a GPU, plain indexing would add up all their gradients in one row, one by one
        gathered = F.embedding(table, padded, padding_idx=len(features)).flatten(1)  # [S', 27 C_in]
        return gathered @ self.weight.permute(2, 3, 4, 1, 0).reshape(-1, self.weight.shape[0])


def _taps(indices: Tensor) -> Tensor:
    """The 27 offsets (0, dz, dy, dx), in the order of a convolution's weight."""
    axis = torch.arange(KERNEL, device=indices.device) - KERNEL // 2
    offsets = torch.cartesian_prod(axis, axis, axis)
    return torch.cat([torch.zeros_like(offsets[:, :1]), offsets], -1)


def _halved(size: int) -> int:
    return (size - 1) // 2 + 1


def _look_up(voxels: Voxels, wanted: Tensor) -> Tensor:
    """Positions of voxels [S', 27, 4] among the active ones; S where not active or outside."""
    active = voxels.keys(voxels.indices)
    limit = torch.tensor(voxels.shape, device=wanted.device)
    inside = ((wanted[..., 1:] >= 0) & (wanted[..., 1:] < limit)).all(-1)
    keys = torch.where(inside, voxels.keys(wanted), -1)
    if len(active) == 0:
        return torch.zeros_like(keys)
    place = torch.searchsorted(active, keys).clamp(max=len(active) - 1)
    return torch.where(active[place] == keys, place, len(active))
