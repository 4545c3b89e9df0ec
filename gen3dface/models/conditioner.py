"""From noisy views to the volumes that each target view's UNet looks into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from gen3dface.models.embeddings import TimeEmbedding
from gen3dface.models.feature_volume import FeatureVolume, VolumeGeometry
from gen3dface.models.frustum_network import FrustumNetwork
from gen3dface.models.grids import frustum_depths, frustum_points, sample_volume


@dataclass(frozen=True)
class SceneGeometry:
    """All index tables and grids of one call: B heads, N target views; independent of the step."""

    volume: VolumeGeometry
    frustum: Tensor  # [B, F, D, h, h, 3] where the rays of F views lie in the volume, -1..1

    def to(self, device: torch.device | str) -> SceneGeometry:
        """The same on another device."""
        return replace(self, volume=self.volume.to(device), frustum=self.frustum.to(device))


class VolumeConditioner(ModelMixin, ConfigMixin):
    """Time embedding, world volume and frustum networks in one.

    Args:
        volume_config: settings of `FeatureVolume`, which also holds `time_dim` and `view_dim`.
        frustum_channels: widths of the frustum network, the finest first; the UNet has one level for each.
        frustum_depth: samples along a ray.
        frustum_center: middle of the rays' span, in the cameras' unit; None: each camera's distance from the origin
            (Morphable Diffusion and the paper's reading). SyncDreamer: 1.5 sides, whatever the camera.
    """

    @register_to_config
    def __init__(
        self,
        volume_config: dict[str, Any] | None = None,
        frustum_channels: Sequence[int] = (64, 128, 256, 512),
        frustum_depth: int = 48,
        frustum_center: float | None = None,
    ) -> None:
        super().__init__()
        self.volume = FeatureVolume(**(volume_config or {}))
        settings = self.volume.config
        self.time_embedding = TimeEmbedding(settings["time_dim"])
        self.frustum = FrustumNetwork(
            self.volume.channels, frustum_channels, settings["time_dim"], settings["view_dim"]
        )

    def geometry(
        self,
        world_to_camera: Tensor,  # [B, N, 4, 4]
        intrinsics: Tensor,  # [B, N, 3, 3] pixels of the image
        image_size: int,
        feature_size: int,
        vertices: Tensor | None = None,  # [B, P, 3] world, for the mesh branch
        photo_camera: tuple[Tensor, Tensor] | None = None,  # [B, 1, 4, 4] and [B, 1, 3, 3] of an image_size crop
        frustum_photo: bool = False,
    ) -> SceneGeometry:
        """Everything that does not depend on the step, for `forward`.

        Args:
            feature_size: side of the latents.
            frustum_photo: also cut a frustum for the photo's camera, as the last of F = N + 1. Whether the input frame
                looks into the volume is not said in the paper; by default it does not (its camera is zero).
        """
        volume = self.volume.geometry(world_to_camera, intrinsics, image_size, feature_size, vertices, photo_camera)
        if frustum_photo and photo_camera is not None:
            world_to_camera = torch.cat([world_to_camera, photo_camera[0]], 1)
            intrinsics = torch.cat([intrinsics, photo_camera[1]], 1)
        return SceneGeometry(volume, self.frustum_grid(world_to_camera, intrinsics, image_size, feature_size))

    def frustum_grid(self, world_to_camera: Tensor, intrinsics: Tensor, image_size: int, feature_size: int) -> Tensor:
        """Where the rays of each view lie in the volume: [B, F, D, h, h, 3] in -1..1."""
        side, centers = self.volume.config["side"], self.volume.config["pixel_centers"]
        depths = frustum_depths(world_to_camera, self.config["frustum_depth"], side, self.config["frustum_center"])
        points = frustum_points(world_to_camera, intrinsics, depths, image_size, feature_size, centers)
        return points / (side / 2)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        view: Tensor,
        geometry: SceneGeometry,
        vertex_features: Tensor | None = None,
        photo_volume: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Volumes of each view at each resolution, the finest first.

        Args:
            sample: [B, N, C, h, h] noisy latents of the target views. timestep: [B].
            view: [B, F, 4] view embeddings; F = N, or N + 1 with the photo's frustum.
            geometry: from `geometry`.
            vertex_features: [B, P, vertex_channels]. photo_volume: from `volume.unproject_photo`.

        Returns:
            [B, F, frustum_channels[l], D / 2^l, h / 2^l, h / 2^l] for each level l.
        """
        time = self.time_embedding(timestep)
        noisy = view[:, : sample.shape[1]]
        volume = self.volume(sample, time, noisy, geometry.volume, vertex_features, photo_volume)
        return self.frusta(volume, time, view, geometry.frustum)

    def frusta(self, volume: Tensor, time: Tensor, view: Tensor, grid: Tensor) -> tuple[Tensor, ...]:
        """The frustum network on what each view's rays read from the volume [B, C, V, V, V]."""
        batch, frames = grid.shape[:2]
        # one look-up a head, all its views along the first axis of the grid
        found = sample_volume(volume, grid.flatten(1, 2)).unflatten(2, (frames, -1)).transpose(1, 2)
        rows = time.repeat_interleave(frames, 0)
        levels = self.frustum(found.flatten(0, 1), rows, view.flatten(0, 1))
        return tuple(level.unflatten(0, (batch, frames)) for level in levels)
