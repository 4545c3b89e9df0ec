"""3D network over the frustum of one target view: what its pixels can look at, in several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen3dface.models.volume_network import conv_3d

_GROUPS = 8


class ViewBlock3D(nn.Module):
    """conv(SiLU(GN(x + W_t t + W_v v))), stride 1 or 2, or transposed to go up by two."""

    def __init__(
        self, in_channels: int, out_channels: int, time_dim: int, view_dim: int, stride: int = 1, up: bool = False
    ) -> None:
        super().__init__()
        self.time_proj = nn.Linear(time_dim, in_channels)
        self.view_proj = nn.Linear(view_dim, in_channels)
        self.norm = nn.GroupNorm(_GROUPS, in_channels)
        self.act = nn.SiLU()
        self.conv = conv_3d(in_channels, out_channels, stride, up)

    def forward(self, x: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """x [R, C, D, h, w], time [R, time_dim], view [R, view_dim]; a row is a view."""
        shift = self.time_proj(time) + self.view_proj(view)  # one pass over the large tensor, not two
        return self.conv(self.act(self.norm(x + shift[:, :, None, None, None])))


class FrustumNetwork(ModelMixin, ConfigMixin):
    """A 3D UNet with additive skips over each view's frustum (SyncDreamer's depth-wise condition).

    Args:
        in_channels: channels of the world volume. channels: widths from the full resolution down, multiples of 8.
        time_dim, view_dim: lengths of the two embeddings.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 64,
        channels: Sequence[int] = (64, 128, 256, 512),
        time_dim: int = 256,
        view_dim: int = 4,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv3d(in_channels, channels[0], 3, padding=1)
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList(
            nn.ModuleList(
                [ViewBlock3D(a, b, time_dim, view_dim, stride=2), ViewBlock3D(b, b, time_dim, view_dim)],
            )
            for a, b in pairs
        )
        self.up = nn.ModuleList(ViewBlock3D(b, a, time_dim, view_dim, up=True) for a, b in reversed(pairs))

    def forward(self, frustum: Tensor, time: Tensor, view: Tensor) -> tuple[Tensor, ...]:
        """Features of each resolution, the finest first.

        Args:
            frustum: [R, in_channels, D, h, w], a row is a view; sides that halve evenly.
            time: [R, time_dim]. view: [R, view_dim].

        Returns:
            [R, channels[l], D / 2^l, h / 2^l, w / 2^l] for each level l.
        """
        skips = [self.conv_in(frustum)]
        for stage in self.down:
            x = skips[-1]
            for block in cast(nn.ModuleList, stage):
                x = block(x, time, view)
            skips.append(x)
        levels = [skips.pop()]
        for block in self.up:
            levels.append(block(levels[-1], time, view) + skips.pop())
        return tuple(reversed(levels))
