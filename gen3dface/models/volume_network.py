"""3D network over the world volume that joins the dense views."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

_GROUPS = 8


class TimeBlock3D(nn.Module):
    """conv(SiLU(GN(x + W_t t))), stride 1 or 2, or transposed to go up by two."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.time_proj = nn.Linear(time_dim, in_channels)
        self.norm = nn.GroupNorm(_GROUPS, in_channels)
        self.act = nn.SiLU()
        self.conv = conv_3d(in_channels, out_channels, stride, up)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [B, C, D, H, W], time [B, time_dim]."""
        return self.conv(self.act(self.norm(x + self.time_proj(time)[:, :, None, None, None])))


def conv_3d(in_channels: int, out_channels: int, stride: int = 1, up: bool = False) -> nn.Module:
    """3x3x3 convolution; `up`: transposed, doubling each side."""
    if up:
        return nn.ConvTranspose3d(in_channels, out_channels, 3, 2, padding=1, output_padding=1)
    return nn.Conv3d(in_channels, out_channels, 3, stride, padding=1)


class SpatialTime3DNet(ModelMixin, ConfigMixin):
    """A 3D UNet with additive skips over the features of all views (SyncDreamer, section 3.3).

    Args:
        in_channels: channels of the joined views. channels: widths from the full resolution down, multiples of 8.
        time_dim: length of the time embedding.
    """

    @register_to_config
    def __init__(
        self, in_channels: int = 256, channels: Sequence[int] = (64, 128, 256, 512), time_dim: int = 256
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv3d(in_channels, channels[0], 3, padding=1)
        self.first = TimeBlock3D(channels[0], channels[0], time_dim)
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList(
            nn.ModuleList([TimeBlock3D(a, b, time_dim, stride=2), *(TimeBlock3D(b, b, time_dim) for _ in range(2))])
            for a, b in pairs
        )
        self.up = nn.ModuleList(TimeBlock3D(b, a, time_dim, up=True) for a, b in reversed(pairs))

    def forward(self, volume: Tensor, time: Tensor) -> Tensor:
        """volume [B, in_channels, D, H, W], sides halve evenly; time [B, time_dim] -> [B, channels[0], D, H, W]."""
        x = self.first(self.conv_in(volume), time)
        skips = []
        for stage in self.down:
            skips.append(x)
            for block in cast(nn.ModuleList, stage):
                x = block(x, time)
        for block in self.up:
            x = block(x, time) + skips.pop()
        return x
