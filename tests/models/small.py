"""Small models with random weights, the ones that start at zero included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gen3dface.cameras import orbit
from gen3dface.models.conditioner import VolumeConditioner
from gen3dface.models.multiview_unet import MultiViewUNet

SIZE = 8  # of the latents
VOLUMES = (8, 16)

UNET: dict[str, Any] = {
    "sample_size": SIZE,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter drawn anew, so that nothing is zero and no test passes by doing nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            fan = p[0].numel() if p.ndim > 1 else 4
            p.copy_(torch.randn(p.shape, generator=generator) / fan**0.5 + (1.0 if p.ndim == 1 else 0.0))
    return module.eval()


def small_unet(**settings: Any) -> MultiViewUNet:
    """Two levels, four latent channels."""
    unet = MultiViewUNet(**{"unet_config": UNET, "volume_channels": VOLUMES, **settings})
    randomised(unet)
    return unet


def small_conditioner(**volume: Any) -> VolumeConditioner:
    """A volume of 8 samples a side and frusta of 4 depths."""
    settings = {"time_dim": 16, "volume_size": 8, "encoder_channels": 8, "mesh_channels": (8, 8, 8), "voxel_size": 0.02}
    conditioner = VolumeConditioner({**settings, **volume}, VOLUMES, 4)
    randomised(conditioner)
    return conditioner


def ring(views: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Cameras all around, world_to_camera [B, N, 4, 4] and intrinsics [B, N, 3, 3] of 32 px images."""
    cameras = orbit(torch.arange(views) * 360.0 / views, torch.linspace(-10, 20, views), radius=1.8, focal=4.5, size=32)
    return cameras.world_to_camera.expand(batch, -1, -1, -1), cameras.intrinsics.expand(batch, -1, -1, -1)


def ellipsoid(points: int = 300, seed: int = 0) -> Tensor:
    """Points [1, P, 3] on a head-sized ellipsoid, metres."""
    direction = torch.randn(points, 3, generator=torch.Generator().manual_seed(seed))
    return (nn.functional.normalize(direction, dim=-1) * torch.tensor([0.08, 0.12, 0.1]))[None]
