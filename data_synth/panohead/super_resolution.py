"""From a small picture with features to a large one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.data_synth.panohead.stylegan import Block

_CLAMP = 256.0  # of the activations
_WIDTHS = {512: (256, 128), 256: (128, 64), 128: (128, 64)}  # channels of both blocks by the picture's side


class SuperResolution(nn.Module):
    """Two StyleGAN2 blocks, styled by the last w alone, without noise (EG3D, sec. 4.3).

    Args:
        inputs: feature channels. side: of the picture, 512, 256 or 128 px; the first block of the latter two keeps
            the size of what comes in.
    """

    def __init__(self, inputs: int, w_dim: int, side: int) -> None:
        super().__init__()
        first, second = _WIDTHS[side]
        up = side == 512
        self.input_side = side // 4 if up else side // 2
        self.block0 = Block(inputs, first, w_dim, side // 2, 3, _CLAMP, up)
        self.block1 = Block(first, second, w_dim, side, 3, _CLAMP)

    def forward(self, rgb: Tensor, features: Tensor, ws: Tensor) -> Tensor:
        """rgb [B, 3, s, s] and features [B, inputs, s, s] of any s, ws [B, L, w_dim] -> [B, 3, side, side]."""
        last = ws[:, -1:].repeat(1, 3, 1)
        if rgb.shape[-1] != self.input_side:
            rgb, features = (
                F.interpolate(t, (self.input_side,) * 2, mode="bilinear", antialias=True) for t in (rgb, features)
            )
        features, rgb = self.block0(features, rgb, last, noise=False)
        _, rgb = self.block1(features, rgb, last, noise=False)
        return rgb
