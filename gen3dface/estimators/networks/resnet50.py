"""ResNet-50 without its classifier (He et al., 2016), under torchvision's names, and DECA's regressor on top of it.

Bottleneck blocks reduce resolution in their 3 x 3 convolution (torchvision's "v1.5").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

_EXPANSION = 4


class Bottleneck(nn.Module):
    """y = relu(x' + 1x1(3x3(1x1(x)))) with x' = x, or its projection where width or resolution change."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = None
        if stride != 1 or channels != wide:
            self.downsample = nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 4 width, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Images [B, 3, H, W] to features [B, 32 width]: 2048 at the usual width of 64."""

    def __init__(self, blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            layers = []
            for block in range(count):
                layers.append(Bottleneck(channels, inner, 2 if stage and block == 0 else 1))
                channels = inner * _EXPANSION
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.feature_size = channels

    def forward(self, images: Tensor) -> Tensor:
        """The mean over the picture of the last stage's features."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, padding=1)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean((2, 3))


class ResNetRegressor(nn.Module):
    """DECA's coarse encoder (Feng et al., 2021): ResNet-50, one hidden layer, `outputs` numbers."""

    def __init__(self, outputs: int, hidden: int = 1024, blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64) -> None:
        super().__init__()
        self.encoder = ResNet(blocks, width)
        self.layers = nn.Sequential(nn.Linear(self.encoder.feature_size, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 224, 224] RGB in 0..1 -> [B, outputs]."""
        parameters: Tensor = self.layers(self.encoder(images))
        return parameters
