"""The learned half of an autoencoder whose latents are blocks of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelDecoder(nn.Module):
    """What is added to pictures so that no trace of the denoiser's blocks is left in them.

    Latents that are pixels lose nothing, but a denoiser of a few steps leaves in them what its losses do not see: a
    weave of the blocks' period, scalloped outlines, haze. A decoder that was trained on such latents takes it out, as
    Stable Diffusion's was trained further after its encoder was fixed. A U-Net (Ronneberger et al., 2015); before
    training it adds nothing.

    Args:
        channels: of a picture. widths: of the levels, each of half the size of the one before.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.first = _pair(channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.SiLU(), *_layer(b, b)) for a, b in pairwise(widths)
        )
        self.narrow = nn.ModuleList(_layer(b, a) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_layer(2 * a, a) for a in widths[:-1])
        self.middle = _pair(widths[-1], widths[-1])
        self.last = nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))

    def forward(self, pictures: Tensor) -> Tensor:
        """[R, channels, H, W] -> what is to be added to them; H and W are multiples of 2^(levels - 1)."""
        kept = [self.first(pictures)]
        for down in self.down:
            kept.append(down(kept[-1]))
        x = kept.pop()
        x = x + self.middle(x)
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            risen = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = up(torch.cat([narrow(risen), kept.pop()], 1))
        return cast(Tensor, self.last(x))


def _layer(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, outer, 3, padding=1), nn.SiLU())


def _pair(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(*_layer(inner, outer), *_layer(outer, outer))
