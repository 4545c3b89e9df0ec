"""The pixels that a surface is fitted to, drawn as rays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.recon.ray_sections import cube_span

_AROUND = 16  # px around the masks in which rays say that nothing is there


@dataclass(frozen=True)
class Rays:
    """R pixels."""

    origins: Tensor  # [R, 3]
    directions: Tensor  # [R, 3]
    colour: Tensor  # [R, 3]
    mask: Tensor  # [R]
    view: Tensor  # [R]
    weight: Tensor  # [R] 1 on average over the views


class Pixels:
    """The pixels near the head in all views, in an order without end: all once before any twice.

    Args:
        images: [N, 3, H, W]. masks: [N, 1, H, W]. side: of the cube around the origin that rays must meet, metres.
        weights: [N] of the views (default: all alike); those of weight 0 are not drawn. All on one device.
    """

    def __init__(self, images: Tensor, masks: Tensor, cameras: Cameras, side: float, weights: Tensor | None) -> None:
        origins, directions = cameras.rays()
        trusted = torch.ones(len(images), device=images.device) if weights is None else weights
        wide = F.max_pool2d(masks, 2 * _AROUND + 1, 1, _AROUND)[:, 0] > 0.01
        near, far = cube_span(
            origins[:, None].expand(-1, masks[0].numel(), -1).reshape(-1, 3), directions.reshape(-1, 3), side
        )
        wide &= trusted[:, None, None] > 0
        self.kept = (wide.flatten() & (far > near)).nonzero()[:, 0]
        self.origins, self.directions = origins, directions.reshape(-1, 3)
        self.colours = images.permute(0, 2, 3, 1).reshape(-1, 3)
        self.masks, self.area = masks.flatten(), masks[0].numel()
        self.weights = trusted / trusted.mean()
        self._order: Iterator[Tensor] = iter(())

    def draw(self, count: int, random: torch.Generator) -> Rays:
        """The next `count` pixels."""
        chosen = next(self._order, None)
        if chosen is None or len(chosen) < min(count, len(self.kept)):
            order = self.kept[torch.randperm(len(self.kept), generator=random, device=random.device)]
            self._order = iter(order.split(count))
            chosen = next(self._order)
        view = chosen // self.area
        return Rays(
            self.origins[view],
            self.directions[chosen],
            self.colours[chosen],
            self.masks[chosen],
            view,
            self.weights[view],
        )
