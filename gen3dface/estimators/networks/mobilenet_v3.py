"""MobileNetV3 "minimalistic" (Howard et al., 2019, TensorFlow's variant), under timm's names.

Minimalistic: no squeeze-and-excitation, ReLU for hard swish, 3 x 3 kernels only. TensorFlow pads a convolution of
stride 2 at the bottom and right first ("SAME"), and its batch norm adds 1e-3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-3
_STEM = 16


@dataclass(frozen=True)
class Stage:
    """`hidden[i]` is the inner width of block i; the first block has the stride."""

    hidden: tuple[int, ...]
    width: int
    stride: int


# The first stage has one depthwise-separable block without an inner width of its own; after the last stage comes a
# plain 1 x 1 convolution to `SMALL_FEATURES` or `LARGE_FEATURES` channels.
SMALL = (
    Stage((16,), 16, 2),
    Stage((72, 88), 24, 2),
    Stage((96, 240, 240), 40, 2),
    Stage((120, 144), 48, 1),
    Stage((288, 576, 576), 96, 2),
)
LARGE = (
    Stage((16,), 16, 1),
    Stage((64, 72), 24, 2),
    Stage((72, 120, 120), 40, 2),
    Stage((240, 200, 184, 184), 80, 2),
    Stage((480, 672), 112, 1),
    Stage((672, 960, 960), 160, 2),
)
SMALL_FEATURES, LARGE_FEATURES = 576, 960


class SameConv(nn.Conv2d):
    """A 3 x 3 convolution without bias whose output has ceil(size / stride) pixels, padded as TensorFlow does."""

    def __init__(self, channels: int, width: int, stride: int, groups: int = 1) -> None:
        super().__init__(channels, width, 3, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, width, ceil(H / stride), ceil(W / stride)]."""
        down, right = (_same_padding(side, self.stride[0]) for side in x.shape[-2:])
        padded = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return super().forward(padded)


def _same_padding(side: int, stride: int) -> int:
    return max((-(-side // stride) - 1) * stride + 3 - side, 0)


class SeparableBlock(nn.Module):
    """Depthwise, then pointwise."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = SameConv(channels, channels, stride, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels, _EPSILON)
        self.conv_pw = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, _EPSILON)
        self.shortcut = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, width, H / stride, W / stride]."""
        y = self.bn2(self.conv_pw(F.relu(self.bn1(self.conv_dw(x)))))
        return x + y if self.shortcut else y


class InvertedBlock(nn.Module):
    """Pointwise to the inner width, depthwise, and back without an activation."""

    def __init__(self, channels: int, hidden: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv_pw = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden, _EPSILON)
        self.conv_dw = SameConv(hidden, hidden, stride, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden, _EPSILON)
        self.conv_pwl = nn.Conv2d(hidden, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, _EPSILON)
        self.shortcut = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, width, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv_pw(x)))
        y = F.relu(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.shortcut else y


class PointwiseBlock(nn.Module):
    """1 x 1 convolution, batch norm, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, _EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, width, H, W]."""
        return F.relu(self.bn1(self.conv(x)))


class MobileNetV3(nn.Module):
    """Images [B, 3, H, W] to features [B, features]: the mean over the picture of the last block."""

    def __init__(self, stages: tuple[Stage, ...], features: int) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, _STEM, 2)
        self.bn1 = nn.BatchNorm2d(_STEM, _EPSILON)
        blocks: list[nn.Module] = [nn.Sequential(SeparableBlock(_STEM, stages[0].width, stages[0].stride))]
        channels = stages[0].width
        for stage in stages[1:]:
            inner: list[nn.Module] = []
            for block, hidden in enumerate(stage.hidden):
                inner.append(InvertedBlock(channels, hidden, stage.width, 1 if block else stage.stride))
                channels = stage.width
            blocks.append(nn.Sequential(*inner))
        blocks.append(nn.Sequential(PointwiseBlock(channels, features)))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """[B, features]."""
        features: Tensor = self.blocks(F.relu(self.bn1(self.conv_stem(images))))
        return features.mean((2, 3))
