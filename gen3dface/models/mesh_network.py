"""Mesh-aware volume: features at the head's vertices, spread by sparse convolution and read on the volume's grid.

Follows Morphable Diffusion's mesh branch (there after Neural Body). Vertices that share a voxel give their mean; the
published code keeps one of them, and which one is not defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen3dface.errors import ConfigError
from gen3dface.models.grids import sample_volume, volume_points
from gen3dface.models.sparse_conv import (
    SparseConv3d,
    Voxels,
    strided_voxels,
    submanifold_table,
    to_dense,
    unique_voxels,
    voxel_mean,
)
from gen3dface.models.spconv_backend import run_spconv

_SPCONV_ERROR = 1e-4
_MULTIPLE = 4  # the grid is halved twice
_MOST_VOXELS = 2**27  # of the full grid: about 500 voxels a side
_SUBMANIFOLD = (2, 2, 3)  # submanifold convolutions of each stage


@dataclass(frozen=True)
class MeshGeometry:
    """What the mesh branch needs to know of B heads; independent of the step."""

    vertices: Tensor  # [B, P, 3] in the volume, -1..1
    owner: Tensor  # [B P] which voxel each vertex belongs to
    stages: tuple[Voxels, ...]  # active voxels of each stage, the finest first
    tables: tuple[Tensor, ...]  # submanifold 0, strided 0, submanifold 1, strided 1, ...
    grid: Tensor  # [B, V, V, V, 3] where the volume's points lie in the coarsest stage's grid, -1..1

    def to(self, device: torch.device | str) -> MeshGeometry:
        """The same on another device."""
        return replace(
            self,
            vertices=self.vertices.to(device),
            owner=self.owner.to(device),
            stages=tuple(v.to(device) for v in self.stages),
            tables=tuple(t.to(device) for t in self.tables),
            grid=self.grid.to(device),
        )


def voxelize(vertices: Tensor, voxel_size: float) -> tuple[Tensor, Tensor, tuple[int, int, int]]:
    """Voxel of each vertex, counted from its head's lowest corner.

    Args:
        vertices: [B, P, 3] world. voxel_size: side of a voxel.

    Returns:
        coordinates [B, P, 3] int64 (z, y, x), corners [B, 3] (z, y, x), and the grid's shape (D, H, W), shared by all.
    """
    zyx = vertices.flip(-1)
    low, high = zyx.amin(1), zyx.amax(1)
    if not torch.isfinite(vertices).all():
        raise ConfigError("The head has vertices that are not finite numbers.")
    coordinates = ((zyx - low[:, None]) / voxel_size).round().long()
    size = ((high - low) / voxel_size).ceil().long()
    shape = ((size | (_MULTIPLE - 1)) + 1).amax(0)
    if shape.prod() > _MOST_VOXELS:
        raise ConfigError(
            f"The head spans {shape.tolist()} voxels of {voxel_size}; is it in metres, around the origin?"
        )
    depth, height, width = shape.tolist()
    return coordinates, low, (depth, height, width)


def mesh_geometry(vertices: Tensor, voxel_size: float, volume_size: int, side: float, stages: int = 3) -> MeshGeometry:
    """Index tables and grids of B heads.

    Args:
        vertices: [B, P, 3] world. voxel_size: side of a voxel. volume_size: samples a side of the volume.
        side: side of the volume's cube.
    """
    coordinates, low, shape = voxelize(vertices, voxel_size)
    batch = len(vertices)
    rows = torch.arange(batch, device=vertices.device)[:, None, None].expand(-1, vertices.shape[1], 1)
    active, owner = unique_voxels(torch.cat([rows, coordinates], -1).flatten(0, 1), shape, batch)
    levels, tables = [active], [submanifold_table(active)]
    for _ in range(stages - 1):
        coarser, table = strided_voxels(levels[-1])
        levels.append(coarser)
        tables += [table, submanifold_table(coarser)]
    points = volume_points(volume_size, side).to(vertices)
    extent = vertices.new_tensor(shape)
    grid = (points.flip(-1) - low[:, None]) / voxel_size / extent * 2 - 1
    grid = grid.flip(-1).reshape(batch, *[volume_size] * 3, 3)
    return MeshGeometry(vertices / (side / 2), owner, tuple(levels), tuple(tables), grid)


class SparseStage(nn.Module):
    """Sparse convolution, batch norm over voxels, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = SparseConv3d(in_channels, out_channels)
        self.norm = nn.BatchNorm1d(out_channels, eps=1e-3, momentum=0.01)

    def forward(self, features: Tensor, table: Tensor) -> Tensor:
        """features [S, C_in] -> [S', C_out]."""
        return self.norm(self.conv(features, table)).relu()


class MeshNetwork(ModelMixin, ConfigMixin):
    """Features at vertices to a volume.

    Args:
        in_channels: features of a view at a vertex. channels: widths of the three stages; the last is the volume's.
        vertex_channels: further features of a vertex, such as its normal, its part and its colour in the photo; 0 in
            the peers, which know the mesh by its vertices' places alone.
    """

    @register_to_config
    def __init__(self, in_channels: int = 16, channels: Sequence[int] = (16, 32, 64), vertex_channels: int = 0) -> None:
        super().__init__()
        if len(channels) != len(_SUBMANIFOLD):
            raise ConfigError(f"The mesh network has {len(_SUBMANIFOLD)} stages, got widths {tuple(channels)}.")
        self._spconv = False
        self.fuse = nn.Linear(in_channels, channels[0])
        self.vertex_proj = nn.Linear(vertex_channels, channels[0], bias=False) if vertex_channels else None
        self.down = nn.ModuleList(SparseStage(a, b) for a, b in pairwise(channels))
        self.stages = nn.ModuleList(
            nn.ModuleList(SparseStage(c, c) for _ in range(n)) for c, n in zip(channels, _SUBMANIFOLD, strict=True)
        )

    def forward(self, view_features: Tensor, geometry: MeshGeometry, vertex_features: Tensor | None = None) -> Tensor:
        """The mesh's volume [B, channels[-1], V, V, V], zero outside the head's box.

        Args:
            view_features: [B, N, in_channels, P] of each view at each vertex.
            geometry: of the same heads.
            vertex_features: [B, P, vertex_channels], needed when the network has such channels.
        """
        features = self.fused(view_features, vertex_features).flatten(0, 1)
        sparse = self.sparse(voxel_mean(features, geometry.owner, len(geometry.stages[0].indices)), geometry)
        return sample_volume(to_dense(sparse, geometry.stages[-1]), geometry.grid)

    def fused(self, view_features: Tensor, vertex_features: Tensor | None = None) -> Tensor:
        """Mean over the views of a linear map, [B, P, channels[0]]: the order of the two makes no difference."""
        fused = self.fuse(view_features.mean(1).transpose(1, 2))
        if (self.vertex_proj is None) != (vertex_features is None):
            wanted = self.config["vertex_channels"]
            raise ConfigError(f"The mesh network takes {wanted} vertex features; pass them when there are any.")
        if self.vertex_proj is not None and vertex_features is not None:
            fused = fused + self.vertex_proj(vertex_features)
        return fused

    def use_spconv(self, on: bool = True) -> None:
        """Run the sparse convolutions by spconv, or by plain PyTorch again.

        Raises:
            MissingExtraError: spconv is not installed.
            ConfigError: it disagrees with the plain code on this device; on a CPU that is to be expected with more
                than one thread.
        """
        if on:
            apart = self._spconv_error()
            if not apart < _SPCONV_ERROR:
                raise ConfigError(f"spconv differs from the plain sparse convolution by {apart:.1e} of its size here.")
        self._spconv = on

    @torch.no_grad()
    def _spconv_error(self) -> float:
        """Largest difference to the plain code on a ball of random features, relative to the largest value."""
        generator = torch.Generator().manual_seed(0)
        device, channels = self.fuse.weight.device, self.fuse.out_features
        points = nn.functional.normalize(torch.randn(1, 2000, 3, generator=generator), dim=-1) * 0.1
        geometry = mesh_geometry(points.to(device), 0.01, 4, 0.4)
        features = torch.randn(len(geometry.stages[0].indices), channels, generator=generator)
        mode = self.training
        self.eval()
        plain = self._plain(features.to(self.fuse.weight), geometry)
        found = run_spconv(self, features.to(self.fuse.weight), geometry)
        self.train(mode)
        return ((found - plain).abs().max() / plain.abs().max()).item()

    def sparse(self, features: Tensor, geometry: MeshGeometry) -> Tensor:
        """Features [S, channels[0]] of the finest voxels -> [S', channels[-1]] of the coarsest."""
        return run_spconv(self, features, geometry) if self._spconv else self._plain(features, geometry)

    def _plain(self, features: Tensor, geometry: MeshGeometry) -> Tensor:
        for layer in cast(nn.ModuleList, self.stages[0]):
            features = layer(features, geometry.tables[0])
        for index, down in enumerate(self.down):
            features = down(features, geometry.tables[2 * index + 1])
            for layer in cast(nn.ModuleList, self.stages[index + 1]):
                features = layer(features, geometry.tables[2 * index + 2])
        return features
