"""Encoder of the noisy target views: the features that the volumes are made of."""

from __future__ import annotations

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

_GROUPS = 8


def norm_act_conv(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Group norm, SiLU, 3x3 convolution."""
    return [nn.GroupNorm(_GROUPS, in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)]


class ViewResidual(nn.Module):
    """x + f(x + W_t t + W_v v), f two times group norm, SiLU, convolution."""

    def __init__(self, channels: int, time_dim: int, view_dim: int) -> None:
        super().__init__()
        self.time_proj = nn.Linear(time_dim, channels)
        self.view_proj = nn.Linear(view_dim, channels)
        self.layers = nn.Sequential(*norm_act_conv(channels, channels), *norm_act_conv(channels, channels))

    def forward(self, x: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """x [R, C, h, w], time [R, time_dim], view [R, view_dim] -> [R, C, h, w]."""
        shifted = x + self.time_proj(time)[:, :, None, None] + self.view_proj(view)[:, :, None, None]
        return x + self.layers(shifted)


class NoisyViewEncoder(ModelMixin, ConfigMixin):
    """Noisy latents of the target views to features, one view at a time (SyncDreamer, section 3.3).

    Args:
        in_channels: latent channels. channels: width, a multiple of 8.
        time_dim, view_dim: lengths of the two embeddings. layers: residual blocks.
        out_channels: of the features; None: as many as `channels`.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        channels: int = 16,
        time_dim: int = 256,
        view_dim: int = 4,
        layers: int = 3,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.blocks = nn.ModuleList(ViewResidual(channels, time_dim, view_dim) for _ in range(layers))
        self.out = nn.Sequential(*norm_act_conv(channels, out_channels or channels))

    def forward(self, sample: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """sample [R, C, h, w], time [R, time_dim], view [R, view_dim] -> [R, out_channels, h, w]; a row is a view."""
        x = self.conv_in(sample)
        for block in self.blocks:
            x = block(x, time, view)
        return self.out(x)
