"""StyleGAN2's mapping and synthesis networks, as EG3D conditions them on the camera."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dface.data_synth.panohead.layers import EqualLinear, StyledConv, ToChannels, upsampled


def _unit(x: Tensor) -> Tensor:
    """Second moment 1 along the last axis."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Module):
    """z and the camera's 25 numbers to w, two layers.

    linear: the last layer has no activation and all learn at full rate, as in PanoHead's shift of the camera (w_dim 3).
    """

    w_avg: Tensor

    def __init__(self, z_dim: int = 512, c_dim: int = 25, w_dim: int = 512, linear: bool = False) -> None:
        super().__init__()
        rate = 1.0 if linear else 0.01
        self.embed = EqualLinear(c_dim, w_dim)
        self.fc0 = EqualLinear(z_dim + w_dim, w_dim, rate, active=True)
        self.fc1 = EqualLinear(w_dim, w_dim, rate, active=not linear)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """z [B, z_dim], c [B, c_dim] -> w [B, w_dim], not truncated."""
        return self.fc1(self.fc0(torch.cat([_unit(z), _unit(self.embed(c))], -1)))

    def truncated(self, z: Tensor, c: Tensor, layers: int, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """ws [B, layers, w_dim]; the first `cutoff` (default: all) drawn toward the mean w: psi 0 is the mean."""
        ws = self(z, c)[:, None].repeat(1, layers, 1)
        if psi != 1:
            ws[:, :cutoff] = self.w_avg.lerp(ws[:, :cutoff], psi)
        return ws


class Block(nn.Module):
    """One resolution of a synthesis network with skip connections; the first has a constant for its input.

    up: whether what comes in has half the side.
    """

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, side: int, channels: int, clamp: float | None, up: bool = True
    ) -> None:
        super().__init__()
        if inputs:
            self.conv0 = StyledConv(inputs, outputs, w_dim, side, up, clamp)
        else:
            self.const = nn.Parameter(torch.randn(outputs, side, side))
        self.conv1 = StyledConv(outputs, outputs, w_dim, side, False, clamp)
        self.torgb = ToChannels(outputs, channels, w_dim, clamp)
        self._up = up

    def forward(self, x: Tensor | None, image: Tensor | None, ws: Tensor, noise: bool = True) -> tuple[Tensor, Tensor]:
        """ws [B, convolutions + 1, w_dim] -> features and image, at this block's resolution."""
        x = self.const.repeat(len(ws), 1, 1, 1) if x is None else self.conv0(x, ws[:, 0], noise)
        x = self.conv1(x, ws[:, -2], noise)
        y = self.torgb(x, ws[:, -1])
        if image is not None:
            y = y + (upsampled(image) if self._up else image)
        return x, y


class Synthesis(nn.Module):
    """ws to an image of `channels`, by blocks b4, b8, ... b<side>.

    base, most: channels of a block are min(base / side, most).
    """

    def __init__(
        self, w_dim: int, side: int, channels: int, base: int = 32768, most: int = 512, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.sides = [2**k for k in range(2, side.bit_length())]
        widths = [0, *(min(base // s, most) for s in self.sides)]
        for s, inputs, outputs in zip(self.sides, widths, widths[1:], strict=False):
            self.add_module(f"b{s}", Block(inputs, outputs, w_dim, s, channels, clamp))
        self.layers = 2 * len(self.sides)

    def forward(self, ws: Tensor) -> Tensor:
        """ws [B, layers, w_dim] -> [B, channels, side, side]. Each block's last w is the next one's first."""
        x, image, start = None, None, 0
        for s in self.sides:
            block = self.get_submodule(f"b{s}")
            count = 2 if s > 4 else 1
            x, image = block(x, image, ws[:, start : start + count + 1])
            start += count
        assert image is not None
        return image
