"""A small encoder of the photo, trained along: tokens for the cross-attention and features for the volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen3dface.errors import ConfigError

_GROUPS = 8


@dataclass(frozen=True)
class PhotoFeatures:
    """What the encoder says of B photos."""

    tokens: Tensor  # [B, T, token_dim]
    features: Tensor | None  # [B, feature_channels, h, h] at the latents' resolution


class PhotoEncoder(ModelMixin, ConfigMixin):
    """Convolutions down to a 4 x 4 grid, whose cells become tokens, with one more token for the whole.

    It takes the place of CLIP where that cannot be shipped.

    Args:
        in_channels: of the photo, 4 for RGBA. image_size: side of the photo, 4 times a power of two.
        channels: widths of the stages, each of which halves the side, multiples of 8; the last is repeated.
        token_dim: of a token. feature_channels: of the features, 0 for none.
        feature_size: side of the features, image_size over a power of two.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        image_size: int = 128,
        channels: Sequence[int] = (32, 64, 128, 192, 256),
        token_dim: int = 256,
        feature_channels: int = 0,
        feature_size: int = 32,
    ) -> None:
        super().__init__()
        stages = (image_size // 4).bit_length() - 1
        if 4 << stages != image_size or image_size // feature_size not in [2**i for i in range(1, stages + 1)]:
            raise ConfigError(f"No photo encoder for {image_size} pixels and features of {feature_size}.")
        widths = [channels[min(i, len(channels) - 1)] for i in range(stages)]
        inputs = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(_stage(a, b) for a, b in zip(inputs, widths, strict=True))
        self.feature_stage = (image_size // feature_size).bit_length() - 2
        self.to_features = nn.Conv2d(widths[self.feature_stage], feature_channels, 1) if feature_channels else None
        self.to_tokens = nn.Sequential(nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], token_dim))

    @property
    def tokens(self) -> int:
        """How many tokens a photo gives."""
        return 17

    def forward(self, photo: Tensor) -> PhotoFeatures:
        """photo [B, in_channels, image_size, image_size] in -1..1."""
        x, features = photo, None
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index == self.feature_stage and self.to_features is not None:
                features = self.to_features(x)
        cells = x.flatten(2).transpose(1, 2)
        tokens = self.to_tokens(torch.cat([cells.mean(1, keepdim=True), cells], 1))
        return PhotoFeatures(tokens, features)


def _stage(in_channels: int, out_channels: int) -> nn.Sequential:
    """Halve the side, then two convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, 2, padding=1),
        nn.GroupNorm(_GROUPS, out_channels),
        nn.SiLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.GroupNorm(_GROUPS, out_channels),
        nn.SiLU(),
    )
