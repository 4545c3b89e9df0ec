"""Layers of StyleGAN2 (Karras et al., 2020): equalised learning rates and modulated convolutions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TAPS = (1.0, 3.0, 3.0, 1.0)  # of the smoothing filter, along each axis
_SLOPE, _GAIN = 0.2, math.sqrt(2)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the second moment: sqrt(2) * max(x, 0.2 x)."""
    return F.leaky_relu(x, _SLOPE) * _GAIN


def upsampled(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W]: zeros between the pixels, smoothed; zero outside the image."""
    # with these taps it is bilinear interpolation of the image in a frame of zeros
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]


def _smoothed(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, H - 1, W - 1], of four times the brightness as after an insertion of zeros."""
    taps = x.new_tensor(_TAPS)
    kernel = (torch.outer(taps, taps) * (4 / taps.sum() ** 2)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


class EqualLinear(nn.Module):
    """y = a(W x * rate / sqrt(inputs) + b * rate); `rate` multiplies the learning rate."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, active: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._gain, self._rate, self._active = rate / math.sqrt(inputs), rate, active

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        y = F.linear(x, self.weight * self._gain, self.bias * self._rate)
        return activate(y) if self._active else y


class StyledConv(nn.Module):
    """A 3x3 convolution with modulated and demodulated weights, constant noise and an activation (eq. 1, 3).

    clamp: largest absolute value that comes out, None for no limit.
    """

    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, side: int, up: bool, clamp: float | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualLinear(w_dim, inputs)
        nn.init.ones_(self.affine.bias)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(side, side))
        self._up, self._clamp = up, clamp

    def forward(self, x: Tensor, w: Tensor, noise: bool = True) -> Tensor:
        """x [B, inputs, H, W], w [B, w_dim] -> [B, outputs, side, side]."""
        style = self.affine(w)
        demodulation = (style.square() @ self.weight.square().sum((2, 3)).T + 1e-8).rsqrt() * _GAIN
        if len(x) == 1:  # in the weights, as the paper has it: large pictures need not be gone through for it
            x = self._convolved(x, self.weight * style[0, :, None, None] * demodulation[0, :, None, None, None])
        else:  # else that would be a convolution a sample
            x = self._convolved(x * style[:, :, None, None], self.weight) * demodulation[:, :, None, None]
        shift = self.bias[:, None, None] * _GAIN
        if noise:
            shift = shift + self.noise_const * (self.noise_strength * _GAIN)
        x = F.leaky_relu(x + shift, _SLOPE, inplace=True)  # the gain of `activate` is in weights and shift
        return x if self._clamp is None else x.clamp_(-self._clamp, self._clamp)

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        if self._up:
            return _smoothed(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        return F.conv2d(x, weight, padding=1)


class ToChannels(nn.Module):
    """A modulated 1x1 convolution without demodulation: features to the output's channels."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualLinear(w_dim, inputs)
        nn.init.ones_(self.affine.bias)
        self._gain, self._clamp = 1 / math.sqrt(inputs), clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [B, inputs, H, W], w [B, w_dim] -> [B, outputs, H, W]."""
        style = self.affine(w) * self._gain
        y = F.conv2d(x * style[:, :, None, None], self.weight) + self.bias[:, None, None]
        return y if self._clamp is None else y.clamp(-self._clamp, self._clamp)
