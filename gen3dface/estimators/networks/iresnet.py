"""The residual network of ArcFace (Deng et al., 2019), under InsightFace's names, and MICA's mapping on top of it.

Blocks (He et al., 2016, "identity mappings", as ArcFace varies them): norm, 3 x 3, norm, PReLU, 3 x 3 with the
stride, norm, plus the shortcut; nothing after the sum. All four stages halve the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

IRESNET100 = (3, 13, 30, 3)
CROP = 112  # px of the input's side
_WIDTHS = (1, 2, 4, 8)  # of the stages, times `width`


class IdentityBlock(nn.Module):
    """y = x' + norm(3x3(prelu(norm(3x3(norm(x)))))) with x' = x, or its projection in a stage's first block."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or channels != width:
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, width, H / stride, W / stride]."""
        y: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """Aligned faces [B, 3, 112, 112] in -1..1 to identity features [B, features]."""

    def __init__(self, blocks: Sequence[int] = IRESNET100, features: int = 512, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        channels = width
        for stage, (count, times) in enumerate(zip(blocks, _WIDTHS, strict=True)):
            layers = []
            for block in range(count):
                layers.append(IdentityBlock(channels, width * times, 1 if block else 2))
                channels = width * times
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels * (CROP >> len(_WIDTHS)) ** 2, features)
        self.features = nn.BatchNorm1d(features)

    def forward(self, images: Tensor) -> Tensor:
        """[B, features], not normalised."""
        x = self.prelu(self.bn1(self.conv1(images)))
        for stage in range(len(_WIDTHS)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        features: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return features


class MappingNetwork(nn.Module):
    """MICA's regressor (Zielonka et al., 2022): `hidden` layers with leaky ReLUs (slope 0.2), and a linear output."""

    def __init__(self, inputs: int = 512, width: int = 300, outputs: int = 300, hidden: int = 4) -> None:
        super().__init__()
        self.network = nn.ModuleList(nn.Linear(width if layer else inputs, width) for layer in range(hidden))
        self.output = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs] -> [B, outputs]."""
        for layer in self.network:
            features = F.leaky_relu(layer(features), 0.2)
        outputs: Tensor = self.output(features)
        return outputs
