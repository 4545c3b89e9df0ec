"""Full resolution after a denoiser whose latents are blocks of pixels."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelHead(nn.Module):
    """Convolutions over single pixels, between the features of the UNet and what it was given.

    A UNet on latents that are blocks of pixels says each pixel of a block by weights of its own: edges fall apart into
    the blocks' grid, and what the inputs show finer than a block is squeezed through its first layer. Sub-pixel
    convolution (Shi et al., 2016, "Real-Time Single Image and Video Super-Resolution") brings the features to full size
    beside the inputs, and shared weights say the rest. It says nothing before training.

    Args:
        features: channels of the UNet's last layer.
        inputs, outputs: channels of a pixel, of what the UNet is given and says.
        channels: of the layers.
        factor: side of a block in pixels.
    """

    def __init__(self, features: int, inputs: int, outputs: int, channels: int = 16, factor: int = 4) -> None:
        super().__init__()
        self.factor = factor
        self.rise = nn.Conv2d(features, channels * factor**2, 3, padding=1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels + inputs, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, outputs, 3, padding=1),
        )
        last = cast(nn.Conv2d, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, features: Tensor, inputs: Tensor) -> Tensor:
        """What is added to the UNet's output: [R, outputs f^2, h, w].

        Args:
            features: [R, features, h, w]. inputs: [R, inputs f^2, h, w], the blocks of a channel together.
        """
        pixels = [F.pixel_shuffle(t, self.factor) for t in (self.rise(features), inputs)]
        return F.pixel_unshuffle(self.layers(torch.cat(pixels, 1)), self.factor)
