"""What the networks are told about the step and the view, as vectors."""

from __future__ import annotations

from typing import Literal

import torch
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from torch import Tensor, nn

from gen3dface.errors import ConfigError

ViewConvention = Literal["relative", "sync", "frontal"]
VIEW_CONVENTIONS: tuple[ViewConvention, ...] = ("relative", "sync", "frontal")
VIEW_CHANNELS = 4


def timestep_sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """cos(t w_i) then sin(t w_i) with w_i = 10000^(-2i/dim): steps [B] -> [B, dim] float32 (Ho et al., 2020)."""
    return get_timestep_embedding(timestep, dim, flip_sin_to_cos=True, downscale_freq_shift=0)


class TimeEmbedding(nn.Module):
    """Time embedding of the volume networks, apart from the UNet's own: sinusoid, then a two-layer MLP."""

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.dim = dim
        self.mlp = TimestepEmbedding(dim, dim, act_fn="silu")

    def forward(self, timestep: Tensor) -> Tensor:
        """Steps [B] in 0..999 -> [B, dim]."""
        return self.mlp(timestep_sinusoid(timestep, self.dim).to(self.mlp.linear_1.weight.dtype))


def view_embedding(
    target_azimuth: Tensor,  # [B, N] degrees
    target_elevation: Tensor,  # [B, N] degrees
    input_azimuth: Tensor,  # [B] degrees
    input_elevation: Tensor,  # [B] degrees
    convention: ViewConvention = "relative",
) -> Tensor:
    """Where each target view stands as seen from the input view: [B, N, 4] float.

    Columns: elevation difference in radians, sine and cosine of the azimuth difference, 0 (once the distance).

    `relative` is the paper's reading (camera angles enter the encoder): target - input for both angles. `sync` is
    SyncDreamer's: its elevation difference has the other sign. `frontal` is what the published Morphable Diffusion
    weights were trained on: all angles zero, so every view reads (0, 0, 1, 0).
    """
    if convention not in VIEW_CONVENTIONS:
        raise ConfigError(f"Unknown view convention {convention!r}; choose one of {', '.join(VIEW_CONVENTIONS)}.")
    azimuth = torch.deg2rad(target_azimuth - input_azimuth[:, None])
    elevation = torch.deg2rad(target_elevation - input_elevation[:, None])
    if convention == "frontal":
        azimuth, elevation = torch.zeros_like(azimuth), torch.zeros_like(elevation)
    if convention == "sync":
        elevation = -elevation
    return torch.stack([elevation, azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)], -1)
