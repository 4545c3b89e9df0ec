"""Features and density at points: PanoHead's tri-grid and its decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.data_synth.panohead.layers import EqualLinear

PANOHEAD_AXES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # a grid's W, H and D in terms of x, y, z


def grid_features(
    planes: Tensor,
    points: Tensor,
    depth: int = 3,
    side: float = 1.0,
    axes: tuple[tuple[int, int, int], ...] = PANOHEAD_AXES,
) -> Tensor:
    """Mean of the three grids' features [B, P, C] at points [B, P, 3]: trilinear, bilinear if flat; zero outside.

    Args:
        planes: [B, 3 * C * depth, H, W], a grid's channels in the order (C, depth).
        side: of the cube that the grids span, in the points' units.
    """
    batch, channels, height, width = planes.shape
    grids = planes.reshape(batch * 3, channels // (3 * depth), depth, height, width)
    places = torch.stack([points[..., list(order)] for order in axes], 1) * (2 / side)
    if depth == 1:  # a plane, not a grid of one layer that fades to both sides
        places = torch.cat([places[..., :2], torch.zeros_like(places[..., 2:])], -1)
    found = F.grid_sample(grids, places.flatten(0, 1)[:, None, None], align_corners=False)
    return found[:, :, 0, 0].unflatten(0, (batch, 3)).mean(1).mT


class Decoder(nn.Module):
    """Features to colour features and density before its softplus, by one hidden layer."""

    def __init__(self, inputs: int = 32, hidden: int = 64, colours: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(EqualLinear(inputs, hidden), nn.Softplus(), EqualLinear(hidden, 1 + colours))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[..., inputs] -> colours [..., colours] and density [..., 1]."""
        out = self.net(features)
        return out[..., 1:], out[..., :1]
