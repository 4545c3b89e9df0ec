"""The world volume: what the noisy views, the mesh and the photo say about each point around the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from gen3dface.errors import ConfigError
from gen3dface.models.grids import PixelCenters, sample_views, sample_volume, view_grid, volume_points
from gen3dface.models.mesh_network import MeshGeometry, MeshNetwork, mesh_geometry
from gen3dface.models.view_encoder import NoisyViewEncoder
from gen3dface.models.volume_network import SpatialTime3DNet

ViewFusion = Literal["concat", "mean"]


@dataclass(frozen=True)
class VolumeGeometry:
    """Where the volume's points lie in the views; independent of the step."""

    views: Tensor  # [B, N, V^3, 2] in the noisy views' features
    photo: Tensor | None  # [B, 1, V^3, 2] in the photo's features, where the photo enters
    mesh: MeshGeometry | None  # where the mesh enters

    def to(self, device: torch.device | str) -> VolumeGeometry:
        """The same on another device."""
        return replace(
            self,
            views=self.views.to(device),
            photo=None if self.photo is None else self.photo.to(device),
            mesh=None if self.mesh is None else self.mesh.to(device),
        )


class FeatureVolume(ModelMixin, ConfigMixin):
    """Noisy views to a world volume, by way of the mesh, of the dense volume, or their sum.

    Args:
        latent_channels, encoder_channels, time_dim, view_dim: of the noisy-view encoder.
        volume_size: samples a side. side: of the cube around the head, in the cameras' unit (metres; the peers' unit
            is 2.5 to the metre, their side 1).
        pixel_centers: `half`, this package's cameras; `integer`, the quirk that the peers' weights need (see `grids`).
        mesh_channels: widths of the mesh branch, None for no mesh branch (SyncDreamer). The paper's reading, and
            Morphable Diffusion's, is the mesh branch alone.
        voxel_size: of the mesh branch, in the cameras' unit. vertex_channels: further features of each vertex.
        dense_channels: widths of the dense branch, None for none. With both branches the volumes are added, which is
            Morphable Diffusion's `use_spatial_volume`, off in what it published.
        view_fusion: how the dense branch joins the views. `concat` (SyncDreamer) fixes their number and order;
            `mean` takes any number in any order.
        num_views: for `concat`. photo_channels: features of the photo, unprojected with its own camera into the dense
            branch; 0 for none (the paper and its peers: the photo enters through the UNet alone).
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 4,
        encoder_channels: int = 16,
        time_dim: int = 256,
        view_dim: int = 4,
        volume_size: int = 32,
        side: float = 0.4,
        pixel_centers: PixelCenters = "half",
        mesh_channels: Sequence[int] | None = (16, 32, 64),
        voxel_size: float = 0.002,
        vertex_channels: int = 0,
        dense_channels: Sequence[int] | None = None,
        view_fusion: ViewFusion = "concat",
        num_views: int = 16,
        photo_channels: int = 0,
    ) -> None:
        super().__init__()
        _check(mesh_channels, dense_channels, view_fusion, photo_channels)
        self.encoder = NoisyViewEncoder(latent_channels, encoder_channels, time_dim, view_dim)
        self.mesh = MeshNetwork(encoder_channels, mesh_channels, vertex_channels) if mesh_channels else None
        joined = encoder_channels * (num_views if view_fusion == "concat" else 1) + photo_channels
        self.dense = SpatialTime3DNet(joined, dense_channels, time_dim) if dense_channels else None
        self.channels = mesh_channels[-1] if mesh_channels else (dense_channels or [0])[0]  # of the volume

    def geometry(
        self,
        world_to_camera: Tensor,  # [B, N, 4, 4]
        intrinsics: Tensor,  # [B, N, 3, 3] pixels of the image
        image_size: int,
        feature_size: int,
        vertices: Tensor | None = None,  # [B, P, 3] world, for the mesh branch
        photo_camera: tuple[Tensor, Tensor] | None = None,  # [B, 1, 4, 4] and [B, 1, 3, 3], of an image_size crop
    ) -> VolumeGeometry:
        """Everything that does not depend on the step."""
        size, side, centers = (self.config[k] for k in ("volume_size", "side", "pixel_centers"))
        points = volume_points(size, side).to(world_to_camera)
        views = view_grid(points, world_to_camera, intrinsics, image_size, feature_size, centers)
        photo = mesh = None
        if self.config["photo_channels"]:
            if photo_camera is None:
                raise ConfigError("This model unprojects the photo: pass photo_camera.")
            photo = view_grid(points, *photo_camera, image_size, feature_size, centers)
        if self.mesh is not None:
            if vertices is None:
                raise ConfigError("This model is mesh-aware: pass the head's vertices.")
            mesh = mesh_geometry(vertices, self.config["voxel_size"], size, side)
        return VolumeGeometry(views, photo, mesh)

    def forward(
        self,
        sample: Tensor,
        time: Tensor,
        view: Tensor,
        geometry: VolumeGeometry,
        vertex_features: Tensor | None = None,
        photo_volume: Tensor | None = None,
    ) -> Tensor:
        """The volume [B, C, V, V, V], stored [z, y, x].

        Args:
            sample: [B, N, latent_channels, h, h] noisy latents. time: [B, time_dim]. view: [B, N, view_dim].
            geometry: from `geometry`.
            vertex_features: [B, P, vertex_channels]. photo_volume: from `unproject_photo`.
        """
        volumes = self.unproject(self.encode(sample, time, view), geometry)
        parts = []
        if self.mesh is not None:
            parts.append(self.mesh(self.at_vertices(volumes, geometry), geometry.mesh, vertex_features))
        if self.dense is not None:
            joined = volumes.mean(1) if self.config["view_fusion"] == "mean" else volumes.flatten(1, 2)
            if photo_volume is not None:
                joined = torch.cat([joined, photo_volume], 1)
            parts.append(self.dense(joined, time))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    def encode(self, sample: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """Features of the noisy views, [B, N, encoder_channels, h, h]."""
        batch, views = sample.shape[:2]
        rows = time.repeat_interleave(views, 0)
        return self.encoder(sample.flatten(0, 1), rows, view.flatten(0, 1)).unflatten(0, (batch, views))

    def unproject(self, features: Tensor, geometry: VolumeGeometry) -> Tensor:
        """Each view's features at the volume's points: [B, N, C, h, h] -> [B, N, C, V, V, V]."""
        return sample_views(features, geometry.views).unflatten(-1, [self.config["volume_size"]] * 3)

    def unproject_photo(self, features: Tensor, geometry: VolumeGeometry) -> Tensor:
        """The photo's features at the volume's points: [B, photo_channels, h, h] -> [B, photo_channels, V, V, V]."""
        if geometry.photo is None:
            raise ConfigError("This geometry was made for a model that does not unproject the photo.")
        found = sample_views(features[:, None], geometry.photo)
        return found[:, 0].unflatten(-1, [self.config["volume_size"]] * 3)

    def at_vertices(self, volumes: Tensor, geometry: VolumeGeometry) -> Tensor:
        """Each view's volume read at the head's vertices: [B, N, C, V, V, V] -> [B, N, C, P].

        By way of the volume, not straight from the views, as Morphable Diffusion does.
        """
        if geometry.mesh is None:
            raise ConfigError("This geometry was made for a model without a mesh branch.")
        vertices = geometry.mesh.vertices.repeat_interleave(volumes.shape[1], 0)
        return sample_volume(volumes.flatten(0, 1), vertices).unflatten(0, volumes.shape[:2])


def _check(mesh: Sequence[int] | None, dense: Sequence[int] | None, fusion: str, photo: int) -> None:
    """Raise `ConfigError` on settings that contradict each other."""
    if not mesh and not dense:
        raise ConfigError("A feature volume needs mesh_channels, dense_channels, or both.")
    if mesh and dense and mesh[-1] != dense[0]:
        raise ConfigError(f"The two branches are added: mesh_channels end in {mesh[-1]}, dense_channels in {dense[0]}.")
    if fusion not in ("concat", "mean"):
        raise ConfigError(f"Unknown view_fusion {fusion!r}; choose concat or mean.")
    if photo and not dense:
        raise ConfigError("photo_channels enter the dense branch: give dense_channels.")
